//! What is asked of the API server: kinds, and the selectors that keep the rest away.

use kube::api::{ListParams, WatchParams};
use kube::core::Request;

use super::Options;
use crate::Kind;
use crate::source::{Scope, Wants};

/// Services of another proxy (kube-proxy `cmd/kube-proxy/app/server.go`).
const OWN_SERVICES: &str = "!service.kubernetes.io/service-proxy-name";
/// Slices of Services without a virtual address (likewise).
const PROXIED_SLICES: &str = "!service.kubernetes.io/headless";
/// Services with a virtual address.
const WITH_ADDRESS: &str = "spec.clusterIP!=None";
/// Watches end after this long, and begin again where they ended; a second of each is spread.
const WATCH_S: u32 = 270;

/// The objects of one kind that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// Their kind.
    pub(super) kind: Kind,
    labels: Option<&'static str>,
    fields: Option<String>,
}

impl Query {
    /// What has to be asked to get what is wanted.
    pub(super) fn all(wants: &Wants) -> Vec<Self> {
        let proxied = !wants.headless;
        let query = |kind, labels, fields| Self { kind, labels, fields };
        let mut queries = vec![
            query(Kind::Service, proxied.then_some(OWN_SERVICES), proxied.then(|| WITH_ADDRESS.to_owned())),
            query(Kind::EndpointSlice, proxied.then_some(PROXIED_SLICES), None),
        ];
        for (kind, scope, field) in
            [(Kind::Node, &wants.nodes, "metadata.name"), (Kind::Pod, &wants.pods, "spec.nodeName")]
        {
            match scope {
                Scope::None => {}
                Scope::Node(name) => queries.push(query(kind, None, Some(format!("{field}={name}")))),
                Scope::All => queries.push(query(kind, None, None)),
            }
        }
        if wants.namespaces {
            queries.push(query(Kind::Namespace, None, None));
        }
        if wants.service_cidrs {
            queries.push(query(Kind::ServiceCidr, None, None));
        }
        if wants.imports {
            queries.push(query(Kind::ServiceImport, None, None));
        }
        queries
    }

    /// Whether everything else can do without: older servers, and those without the custom resource,
    /// do not know the kind, and rights that were given for an older agent do not cover it.
    pub(super) fn optional(&self) -> bool {
        matches!(self.kind, Kind::ServiceCidr | Kind::ServiceImport)
    }

    /// One page of a list.
    pub(super) fn list(
        &self,
        options: &Options,
        continues: Option<String>,
    ) -> kube::Result<http::Request<Vec<u8>>> {
        let params = ListParams {
            label_selector: self.labels.map(str::to_owned),
            field_selector: self.fields.clone(),
            limit: Some(options.page),
            continue_token: continues,
            ..ListParams::default()
        };
        self.request().list(&params).map_err(kube::Error::BuildRequest)
    }

    /// One object of the kind, whichever: what comes with it tells how far the cluster is, and how
    /// many there are. Without selectors it costs the server no more than that.
    pub(super) fn look(&self) -> kube::Result<http::Request<Vec<u8>>> {
        let params = ListParams { limit: Some(1), ..ListParams::default() };
        self.request().list(&params).map_err(kube::Error::BuildRequest)
    }

    /// Whether the query is for every object of its kind.
    pub(super) fn whole(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }

    /// A watch from a position; without one it begins with all objects there are.
    pub(super) fn watch(&self, position: Option<&str>, random: u32) -> kube::Result<http::Request<Vec<u8>>> {
        let mut params = WatchParams {
            label_selector: self.labels.map(str::to_owned),
            field_selector: self.fields.clone(),
            ..WatchParams::default()
        };
        params = params.timeout(WATCH_S + random % 20);
        if position.is_none() {
            params = params.initial_events();
        }
        self.request().watch(&params, position.unwrap_or_default()).map_err(kube::Error::BuildRequest)
    }

    fn request(&self) -> Request {
        Request::new(match self.kind {
            Kind::Namespace => "/api/v1/namespaces",
            Kind::Node => "/api/v1/nodes",
            Kind::Pod => "/api/v1/pods",
            Kind::Service => "/api/v1/services",
            Kind::Endpoints => "/api/v1/endpoints",
            Kind::EndpointSlice => "/apis/discovery.k8s.io/v1/endpointslices",
            Kind::ServiceCidr => "/apis/networking.k8s.io/v1/servicecidrs",
            Kind::ServiceImport => "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wants: &Wants, expected: &[&str]) {
        let options = Options::default();
        let found: Vec<String> = Query::all(wants)
            .iter()
            .map(|query| query.list(&options, None).unwrap().uri().to_string().replace("&limit=500", ""))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_proxy_asks_for_what_it_serves_and_for_its_own_node() {
        check(
            &Wants::proxy("n1"),
            &[
                "/api/v1/services?&fieldSelector=spec.clusterIP%21%3DNone&labelSelector=%21service.kubernetes.io%2Fservice-proxy-name",
                "/apis/discovery.k8s.io/v1/endpointslices?&labelSelector=%21service.kubernetes.io%2Fheadless",
                "/api/v1/nodes?&fieldSelector=metadata.name%3Dn1",
                "/api/v1/pods?&fieldSelector=spec.nodeName%3Dn1",
                "/apis/networking.k8s.io/v1/servicecidrs?",
            ],
        );
    }

    #[test]
    fn a_dns_server_asks_for_every_name() {
        let common = ["/api/v1/services?", "/apis/discovery.k8s.io/v1/endpointslices?"];
        let limited = |url: &str| format!("{url}&limit=500").replace("&limit=500", "");
        let urls: Vec<String> = common.iter().map(|url| limited(url)).collect();
        let [services, slices] = [urls[0].as_str(), urls[1].as_str()];
        check(&Wants::names(false, false), &[services, slices, "/api/v1/namespaces?"]);
        check(
            &Wants::names(true, true),
            &[services, slices, "/api/v1/nodes?", "/api/v1/pods?", "/api/v1/namespaces?"],
        );
        let shared = Wants { imports: true, ..Wants::names(false, false) };
        let imports = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports?";
        check(&shared, &[services, slices, "/api/v1/namespaces?", imports]);
    }

    #[test]
    fn a_watch_says_where_it_begins() {
        let query = &Query::all(&Wants::names(false, false))[0];
        let url = |position| query.watch(position, 5).unwrap().uri().to_string();
        assert_eq!(
            url(Some("42")),
            "/api/v1/services?&watch=true&timeoutSeconds=275&allowWatchBookmarks=true&resourceVersion=42"
        );
        assert_eq!(
            url(None),
            "/api/v1/services?&watch=true&timeoutSeconds=275&allowWatchBookmarks=true&sendInitialEvents=true\
             &resourceVersionMatch=NotOlderThan&resourceVersion="
        );
    }
}
