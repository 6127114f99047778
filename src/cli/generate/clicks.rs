//! The clicks of a web shop, as a sequence: which page, when, on which partition, in which order they arrive.
//!
//! Invariant: each page has exactly `per_page` clicks in each window of event time, evenly spread; a click arrives
//! after no click that is more than `disorder_ms` younger, so that an `out_of_orderness` of that much loses none.
//! The same [`Shape`] gives the same clicks. No I/O and no clock.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The pages of the Flink operations playground, which this data set follows.
pub const PAGES: [&str; 6] = ["/help", "/index", "/shop", "/jobs", "/about", "/news"];

/// Length of a window of event time, in ms.
pub const WINDOW_MS: i64 = 15_000;

/// What the clicks look like.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Pages with names beyond [`PAGES`] are called `/page-7`, `/page-8`, …
    pub pages: u32,
    /// Clicks of each page in each window.
    pub per_page: u32,
    /// `None` for endless.
    pub windows: Option<u64>,
    /// Event time past the last window's end, in ms, for which clicks go on: they close the last window.
    pub closing_ms: i64,
    /// By how much event time at most a click may arrive late, in ms.
    pub disorder_ms: i64,
    pub partitions: i32,
    /// Start of the first window, ms since 1970; rounded down to a whole window.
    pub start_ms: i64,
    pub seed: u64,
}

/// One click on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Click {
    /// When it arrives, on the scale of event time, ms since 1970; never falls.
    pub arrival_ms: i64,
    /// Its number in the order of event time.
    pub number: u64,
    /// Ms since 1970.
    pub event_time_ms: i64,
    pub page: u32,
    pub partition: i32,
}

impl Click {
    /// Writes the click as a JSON document.
    pub fn write_json(&self, names: &[String], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(b"{\"timestamp\": ");
        out.extend_from_slice(itoa::Buffer::new().format(self.event_time_ms).as_bytes());
        out.extend_from_slice(b", \"page\": \"");
        out.extend_from_slice(names[self.page as usize].as_bytes());
        out.extend_from_slice(b"\"}");
    }
}

/// Clicks in the order of their arrival.
pub struct Clicks {
    shape: Shape,
    random: StdRng,
    /// The next click in the order of event time.
    next: u64,
    /// Clicks that have happened but may arrive after ones that have not: the earliest arrival first.
    waiting: BinaryHeap<Reverse<Click>>,
}

impl Clicks {
    pub fn new(mut shape: Shape) -> Self {
        shape.start_ms = shape.start_ms.div_euclid(WINDOW_MS) * WINDOW_MS;
        let random = StdRng::seed_from_u64(shape.seed);
        Clicks {
            shape,
            random,
            next: 0,
            waiting: BinaryHeap::new(),
        }
    }

    /// The start of the first window, ms since 1970.
    pub fn start_ms(&self) -> i64 {
        self.shape.start_ms
    }

    /// Names of the pages, by [`Click::page`].
    pub fn page_names(&self) -> Vec<String> {
        (0..self.shape.pages as usize)
            .map(|page| {
                PAGES
                    .get(page)
                    .map_or_else(|| format!("/page-{}", page + 1), |name| (*name).to_owned())
            })
            .collect()
    }

    /// Event time of click `number`, `None` past the end.
    fn event_time(&self, number: u64) -> Option<i64> {
        let shape = &self.shape;
        let per_window = u64::from(shape.pages) * u64::from(shape.per_page);
        let (window, within) = (number / per_window, number % per_window);
        // Clicks of all pages take turns, so that each page has one in every step of WINDOW_MS / per_page.
        let into_window =
            (i128::from(within) * i128::from(WINDOW_MS) / i128::from(per_window)) as i64;
        let time = shape.start_ms + window as i64 * WINDOW_MS + into_window;
        match shape.windows {
            Some(windows)
                if time >= shape.start_ms + windows as i64 * WINDOW_MS + shape.closing_ms =>
            {
                None
            }
            _ => Some(time),
        }
    }

    /// Draws the next click in the order of event time.
    fn draw(&mut self, event_time_ms: i64) -> Click {
        let number = self.next;
        self.next += 1;
        Click {
            arrival_ms: event_time_ms + self.random.random_range(0..=self.shape.disorder_ms),
            number,
            event_time_ms,
            page: (number % u64::from(self.shape.pages)) as u32,
            partition: self.random.random_range(0..self.shape.partitions),
        }
    }
}

impl Iterator for Clicks {
    type Item = Click;

    fn next(&mut self) -> Option<Click> {
        // Whatever happens later arrives no earlier than it happens: the first to arrive is certain once its arrival
        // lies before the event time of the next click.
        while let Some(time) = self.event_time(self.next) {
            if self
                .waiting
                .peek()
                .is_some_and(|Reverse(first)| first.arrival_ms < time)
            {
                break;
            }
            let click = self.draw(time);
            self.waiting.push(Reverse(click));
        }
        self.waiting.pop().map(|Reverse(click)| click)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn shape() -> Shape {
        Shape {
            pages: 6,
            per_page: 100,
            windows: Some(3),
            closing_ms: 0,
            disorder_ms: 200,
            partitions: 4,
            start_ms: 1_700_000_000_000,
            seed: 1,
        }
    }

    #[test]
    fn each_page_has_exactly_its_clicks_in_each_window() {
        let mut counts = BTreeMap::new();
        for click in Clicks::new(shape()) {
            *counts
                .entry((click.event_time_ms.div_euclid(WINDOW_MS), click.page))
                .or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 3 * 6);
        assert!(counts.values().all(|n| *n == 100), "{counts:?}");
        assert_eq!(
            counts.keys().next().unwrap().0 * WINDOW_MS,
            1_699_999_995_000,
            "rounded down to a window"
        );
    }

    #[test]
    fn a_page_is_clicked_evenly_in_event_time() {
        let mut times: Vec<i64> = Clicks::new(shape())
            .filter(|click| click.page == 3)
            .map(|click| click.event_time_ms)
            .collect();
        times.sort_unstable();
        let gaps: BTreeSet<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps, BTreeSet::from([150]));
    }

    #[test]
    fn disorder_is_there_and_within_its_bound_on_every_partition() {
        let mut youngest = BTreeMap::<i32, i64>::new();
        let mut behind = 0;
        let mut worst = 0;
        let mut arrival = 0;
        for click in Clicks::new(shape()) {
            assert!(click.arrival_ms >= arrival, "arrivals never fall");
            arrival = click.arrival_ms;
            let seen = youngest.entry(click.partition).or_insert(i64::MIN);
            *seen = click.event_time_ms.max(*seen);
            worst = worst.max(*seen - click.event_time_ms);
            behind += usize::from(*seen > click.event_time_ms);
        }
        assert!(worst <= 200, "{worst}");
        assert!(
            worst > 100 && behind > 300,
            "the disorder bites: worst {worst}, {behind} behind"
        );
    }

    #[test]
    fn records_of_one_page_lie_on_all_partitions() {
        let partitions: BTreeSet<i32> = Clicks::new(shape())
            .filter(|click| click.page == 0)
            .map(|click| click.partition)
            .collect();
        assert_eq!(partitions, BTreeSet::from([0, 1, 2, 3]));
    }

    #[test]
    fn no_click_is_lost_or_doubled_by_the_shuffle_and_a_seed_repeats_it() {
        let numbers: BTreeSet<u64> = Clicks::new(shape()).map(|click| click.number).collect();
        assert_eq!(numbers, (0..1800).collect());
        assert!(Clicks::new(shape()).eq(Clicks::new(shape())));
        assert!(!Clicks::new(shape()).eq(Clicks::new(Shape { seed: 2, ..shape() })));
    }

    #[test]
    fn closing_clicks_go_past_the_last_window_by_as_much_as_asked() {
        let last = |closing_ms| {
            Clicks::new(Shape {
                closing_ms,
                ..shape()
            })
            .map(|click| click.event_time_ms)
            .max()
            .unwrap()
        };
        let end = 1_699_999_995_000 + 3 * WINDOW_MS;
        assert!(last(0) < end);
        assert!(last(1_000) >= end + 900 && last(1_000) < end + 1_000);
    }

    #[test]
    fn without_disorder_clicks_arrive_as_they_happen_and_endless_goes_on() {
        let clicks: Vec<Click> = Clicks::new(Shape {
            disorder_ms: 0,
            windows: None,
            ..shape()
        })
        .take(5000)
        .collect();
        assert!(clicks.is_sorted_by_key(|click| click.number));
    }

    #[test]
    fn a_click_is_one_json_document() {
        let clicks = Clicks::new(Shape {
            pages: 7,
            ..shape()
        });
        let names = clicks.page_names();
        let click = Click {
            arrival_ms: 0,
            number: 0,
            event_time_ms: 12,
            page: 6,
            partition: 0,
        };
        let mut out = vec![1, 2, 3];
        click.write_json(&names, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"timestamp": 12, "page": "/page-7"}"#
        );
        assert_eq!(names[0], "/help");
    }
}
