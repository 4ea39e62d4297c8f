//! What the demo found, and whether that is what it promises.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use seaway_lab::load::{EndpointTally, Tally};
use serde::Serialize;

use super::manifests::{ENDPOINT_PORT, REMOVED, VIP};
use super::names::Resolution;

/// How far an endpoint may be from its fair share, in percent of that share.
const TOLERANCE_PERCENT: u64 = 20;

/// The document that `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// The Service's name, resolved.
    pub(super) resolution: Resolution,
    /// With all endpoints.
    pub(super) paths: Vec<PathOutcome>,
    /// Requests started after the removal of an endpoint was in force.
    pub(super) after_removal: Vec<PathOutcome>,
}

/// What became of the requests on one path.
#[derive(Debug, Serialize)]
pub(super) struct PathOutcome {
    pub(super) path: &'static str,
    pub(super) vip: SocketAddr,
    pub(super) requests: u64,
    /// Requests without a good answer; after a removal also those that were under way during it.
    pub(super) failed: u64,
    /// Requests answered by each endpoint; those without any are there if they were expected or
    /// were removed.
    pub(super) endpoints: BTreeMap<SocketAddr, u64>,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    #[serde(skip)]
    pub(super) latencies: BTreeMap<SocketAddr, EndpointTally>,
    #[serde(skip)]
    failures: BTreeMap<String, u64>,
    #[serde(skip)]
    expected: Vec<SocketAddr>,
}

impl Outcome {
    /// The promises that were not kept.
    pub(super) fn problems(&self) -> Vec<String> {
        let Resolution { name, address, .. } = &self.resolution;
        let wrong = *address != VIP.ip();
        let name = wrong.then(|| format!("names: {name} is {address}, not {}", VIP.ip()));
        let paths = self.paths.iter().chain(&self.after_removal);
        name.into_iter().chain(paths.flat_map(PathOutcome::problems)).collect()
    }
}

impl PathOutcome {
    /// Counts the last phase of a load, and failures of all of them. `expected` are the endpoints
    /// that shall share the requests.
    pub(super) fn new(path: &'static str, vip: SocketAddr, phases: &[Tally], expected: &[IpAddr]) -> Self {
        let last = phases.last().cloned().unwrap_or_default();
        let mut failures = BTreeMap::new();
        for (reason, count) in phases.iter().flat_map(|tally| &tally.failures) {
            *failures.entry(reason.clone()).or_default() += count;
        }
        let expected: Vec<SocketAddr> =
            expected.iter().map(|&address| (address, ENDPOINT_PORT).into()).collect();
        let mut endpoints: BTreeMap<_, _> = expected.iter().map(|&endpoint| (endpoint, 0)).collect();
        if phases.len() > 1 {
            endpoints.insert((REMOVED, ENDPOINT_PORT).into(), 0);
        }
        endpoints.extend(last.endpoints.iter().map(|(&endpoint, tally)| (endpoint, tally.requests)));
        Self {
            path,
            vip,
            requests: last.requests,
            failed: failures.values().sum(),
            endpoints,
            p50_us: last.p50_us,
            p99_us: last.p99_us,
            latencies: last.endpoints,
            failures,
            expected,
        }
    }

    /// One line about the path.
    pub(super) fn describe(&self) -> String {
        let Self { path, requests, failed, .. } = self;
        format!("{path} path: {requests} requests, {failed} failed")
    }

    /// How many requests an endpoint answered.
    pub(super) fn requests_of(&self, endpoint: IpAddr) -> u64 {
        self.endpoints.get(&(endpoint, ENDPOINT_PORT).into()).copied().unwrap_or_default()
    }

    /// The promises that were not kept on this path.
    pub(super) fn problems(&self) -> Vec<String> {
        let Self { path, requests, failed, failures, .. } = self;
        let mut problems = Vec::new();
        if *failed > 0 {
            problems.push(format!("{path} path: {failed} requests failed: {failures:?}"));
        }
        let share = requests.checked_div(self.expected.len() as u64).unwrap_or_default();
        let allowed = allowed_deviation(share);
        for (endpoint, &count) in &self.endpoints {
            let is_expected = self.expected.contains(endpoint);
            if !is_expected && count > 0 {
                problems.push(format!(
                    "{path} path: {count} requests went to {endpoint}, which is not an endpoint"
                ));
            }
            if is_expected && count.abs_diff(share) > allowed {
                problems.push(format!(
                    "{path} path: {endpoint} answered {count} of {requests} requests, its share is {share} ± {allowed}"
                ));
            }
        }
        problems
    }
}

/// A fifth of the share. Few requests scatter more than that by chance alone: there it is five
/// standard deviations of a fair random choice, at most the square root of the share each.
fn allowed_deviation(share: u64) -> u64 {
    (share * TOLERANCE_PERCENT / 100).max(5 * share.isqrt() + 5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::manifests::ENDPOINTS;

    fn tally(counts: &[(&str, u64)], failed: u64) -> Tally {
        let endpoint = |&(address, requests): &(&str, u64)| {
            (address.parse().unwrap(), EndpointTally { requests, ..EndpointTally::default() })
        };
        let requests = counts.iter().map(|(_, count)| count).sum::<u64>() + failed;
        let failures = (failed > 0).then(|| ("timeout".to_owned(), failed)).into_iter().collect();
        Tally {
            requests,
            failed,
            failures,
            endpoints: counts.iter().map(endpoint).collect(),
            p50_us: 1,
            p99_us: 2,
        }
    }

    fn check(phases: &[Tally], expected: &[IpAddr], problems: &[&str]) {
        assert_eq!(PathOutcome::new("xdp", VIP, phases, expected).problems(), problems);
    }

    #[test]
    fn shares_within_a_fifth_are_fair() {
        let fair = tally(&[("10.1.1.111:80", 801), ("10.1.1.112:80", 1199), ("10.1.1.114:80", 1000)], 0);
        check(&[fair], &ENDPOINTS, &[]);
        let off = tally(&[("10.1.1.111:80", 799), ("10.1.1.112:80", 1101), ("10.1.1.114:80", 1100)], 0);
        check(
            &[off],
            &ENDPOINTS,
            &["xdp path: 10.1.1.111:80 answered 799 of 3000 requests, its share is 1000 ± 200"],
        );
        let absent = tally(&[("10.1.1.111:80", 1500), ("10.1.1.112:80", 1500)], 0);
        assert_eq!(PathOutcome::new("xdp", VIP, &[absent], &ENDPOINTS).problems().len(), 3);
    }

    #[test]
    fn few_requests_may_scatter_more() {
        check(&[tally(&[("10.1.1.111:80", 3)], 0)], &ENDPOINTS, &[]);
        check(&[tally(&[("10.1.1.111:80", 10), ("10.1.1.112:80", 20)], 0)], &ENDPOINTS, &[]);
    }

    #[test]
    fn every_failure_is_a_problem_in_whichever_phase() {
        let left = [ENDPOINTS[0], ENDPOINTS[2]];
        let after = tally(&[("10.1.1.111:80", 50), ("10.1.1.114:80", 50)], 0);
        let problem = "xdp path: 1 requests failed: {\"timeout\": 1}";
        check(&[tally(&[("10.1.1.112:80", 50)], 1), after.clone()], &left, &[problem]);
        check(&[tally(&[("10.1.1.112:80", 50)], 0), after], &left, &[]);
    }

    #[test]
    fn request_to_the_removed_endpoint_is_a_problem() {
        let left = [ENDPOINTS[0], ENDPOINTS[2]];
        let after = tally(&[("10.1.1.111:80", 50), ("10.1.1.112:80", 1), ("10.1.1.114:80", 50)], 0);
        let problem = "xdp path: 1 requests went to 10.1.1.112:80, which is not an endpoint";
        check(&[Tally::default(), after], &left, &[problem]);
    }

    #[test]
    fn document_has_the_counts_and_nothing_else() {
        let after = tally(&[("10.1.1.111:80", 2), ("10.1.1.114:80", 3)], 0);
        let outcome =
            PathOutcome::new("socket", VIP, &[Tally::default(), after], &[ENDPOINTS[0], ENDPOINTS[2]]);
        let expected = serde_json::json!({
            "path": "socket", "vip": "10.96.0.80:8080", "requests": 5, "failed": 0,
            "endpoints": {"10.1.1.111:80": 2, "10.1.1.112:80": 0, "10.1.1.114:80": 3},
            "p50_us": 1, "p99_us": 2,
        });
        assert_eq!(serde_json::to_value(outcome).unwrap(), expected);
    }
}
