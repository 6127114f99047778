//! Sub-topologies: every planned node and sink put where the rows live that it reads.
//!
//! Invariant: a sub-topology begins with a source or a windowed node and is named after it; a windowed node's sending
//! half is a node of the sub-topology that holds its input. A source that nothing reads gets no tasks.

use super::fingerprint::{self, Fingerprint};
use super::node::{NodePlan, Planned};
use super::relation::{Kind, Relation, Relations, source_schema};
use super::sinks;
use crate::plan::graph::{
    Edge, Input, MapPlan, Node, NodeKind, Plan, SourcePlan, SubTopology, WindowInput, WindowPlan,
};
use crate::spec::diagnostic::Diagnostic;
use crate::spec::{NodeSpec, SinkSpec, SourceSpec, TopologySpec};

pub(super) struct Assembly<'s> {
    spec: &'s TopologySpec,
    relations: Relations,
    drafts: Vec<Draft>,
}

/// A sub-topology that is still growing.
struct Draft {
    name: String,
    input: Input,
    nodes: Vec<Node>,
    /// What its own input means.
    own: u64,
    /// The windowed nodes that it folds for, by name.
    folds: Vec<(String, u64)>,
}

impl<'s> Assembly<'s> {
    pub(super) fn new(spec: &'s TopologySpec) -> Self {
        let mut relations = Relations::default();
        for node in &spec.nodes {
            relations.insert(&node.name.value, None);
        }
        let drafts = spec
            .sources
            .iter()
            .map(|source| Self::source(source, &mut relations))
            .collect();
        Assembly {
            spec,
            relations,
            drafts,
        }
    }

    fn source(source: &SourceSpec, relations: &mut Relations) -> Draft {
        let name = source.name.value.clone();
        let schema = source_schema(source);
        let event_time = source.event_time.as_ref().and_then(|time| {
            source
                .columns
                .iter()
                .position(|column| column.name.value == time.column.value)
        });
        let own = fingerprint::source(source);
        let relation = Relation {
            name: name.clone(),
            schema: schema.clone(),
            times: event_time.into_iter().collect(),
            home: name.clone(),
            edge: Edge::Input,
            kind: Kind::Source,
            lineage: own,
        };
        relations.insert(&name, Some(relation));
        let input = Input::Source(SourcePlan {
            spec: source.clone(),
            schema,
            event_time,
        });
        Draft {
            name,
            input,
            nodes: vec![],
            own,
            folds: vec![],
        }
    }

    pub(super) fn relations(&self) -> &Relations {
        &self.relations
    }

    pub(super) fn add(&mut self, spec: &NodeSpec, planned: Planned) {
        let Planned { input, plan, times } = planned;
        match plan {
            NodePlan::Map(plan) => self.map(spec, &input, plan, times),
            NodePlan::Window(plan) => self.window(spec, &input, *plan, times),
        }
    }

    fn map(&mut self, spec: &NodeSpec, input: &Relation, plan: MapPlan, times: Vec<usize>) {
        let lineage = fingerprint::map(input.lineage, &plan);
        let schema = plan.schema.clone();
        let name = spec.name.value.clone();
        let edge = self.push(
            &input.home,
            Node {
                name: name.clone(),
                from: input.edge,
                kind: NodeKind::Map(plan),
            },
        );
        let relation = Relation {
            name,
            schema,
            times,
            home: input.home.clone(),
            edge,
            kind: Kind::Map,
            lineage,
        };
        self.relations.insert(&spec.name.value, Some(relation));
    }

    fn window(&mut self, spec: &NodeSpec, input: &Relation, plan: WindowPlan, times: Vec<usize>) {
        let name = spec.name.value.clone();
        let fold = fingerprint::fold(input.lineage, &plan, self.spec.shards);
        let relation = Relation {
            name: name.clone(),
            schema: plan.output.clone(),
            times,
            home: name.clone(),
            edge: Edge::Input,
            kind: Kind::Window,
            lineage: fingerprint::window(fold, &plan),
        };
        self.push(
            &input.home,
            Node {
                name: name.clone(),
                from: input.edge,
                kind: NodeKind::Fold(plan.clone()),
            },
        );
        if let Some(home) = self
            .drafts
            .iter_mut()
            .find(|draft| draft.name == input.home)
        {
            home.folds.push((name.clone(), fold));
        }
        let receiving = Input::Window(WindowInput {
            window: plan,
            producers: vec![input.home.clone()],
        });
        self.drafts.push(Draft {
            name,
            input: receiving,
            nodes: vec![],
            own: fold,
            folds: vec![],
        });
        self.relations.insert(&spec.name.value, Some(relation));
    }

    pub(super) fn sink(&mut self, spec: &SinkSpec, found: &mut Vec<Diagnostic>) {
        let Some((relation, plan)) = sinks::plan(spec, &self.relations, found) else {
            return;
        };
        let (home, from) = (relation.home.clone(), relation.edge);
        self.push(
            &home,
            Node {
                name: spec.name.value.clone(),
                from,
                kind: NodeKind::Sink(plan),
            },
        );
    }

    /// Appends a node to a sub-topology; the edge under which others read it.
    fn push(&mut self, home: &str, node: Node) -> Edge {
        match self.drafts.iter_mut().find(|draft| draft.name == home) {
            Some(draft) => {
                draft.nodes.push(node);
                Edge::Node(draft.nodes.len() - 1)
            }
            None => Edge::Input,
        }
    }

    pub(super) fn finish(self) -> Plan {
        let used =
            |draft: &Draft| !draft.nodes.is_empty() || matches!(draft.input, Input::Window(_));
        Plan {
            app: self.spec.app.value.clone(),
            rejects_topic: self.spec.rejects_topic.clone(),
            shards: self.spec.shards,
            sub_topologies: self
                .drafts
                .into_iter()
                .filter(used)
                .map(Draft::finish)
                .collect(),
        }
    }
}

impl Draft {
    fn finish(mut self) -> SubTopology {
        // The order of nodes in the file does not matter to state.
        self.folds.sort();
        let start = Fingerprint::new("sub-topology").number(self.own);
        let fingerprint = self
            .folds
            .iter()
            .fold(start, |f, (name, fold)| f.text(name).number(*fold))
            .finish();
        SubTopology {
            name: self.name,
            input: self.input,
            nodes: self.nodes,
            fingerprint,
        }
    }
}
