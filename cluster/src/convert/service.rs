//! Services.

use std::collections::BTreeMap;

use crate::api;

use super::service_address::{cluster_ips, external_ips, ingress, ingress_ips, is_headless, source_ranges};
use super::service_port::service_ports;
use super::subject::{Subject, has_label, shared_map};
use crate::{
    Kind, Labels, Service, ServiceType, SessionAffinity, TrafficDistribution, TrafficPolicy, Warning,
};

const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// The later name of the annotation; while both are set the earlier one counts.
const TOPOLOGY_MODE_ANNOTATION: &str = "service.kubernetes.io/topology-mode";
const TOPOLOGY_HINTS_ANNOTATION: &str = "service.kubernetes.io/topology-aware-hints";
const OWN_ANNOTATIONS: &str = "seaway.io/";
const AFFINITY_DEFAULT_S: i32 = 10_800;
const AFFINITY_MAX_S: i32 = 86_400;

/// The facts of a Service.
///
/// # Errors
/// The warning for a Service that the API server would refuse: it is left out.
pub fn service(object: &api::Service, notes: &mut Vec<Warning>) -> Result<Service, Warning> {
    let (subject, name) = Subject::namespaced(Kind::Service, &object.metadata)?;
    let default_spec = api::ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&default_spec);
    let kind = service_type(&subject, spec)?;
    let alias = matches!(kind, ServiceType::ExternalName(_));
    let headless = !alias && is_headless(spec);
    let annotations = object.metadata.annotations.as_ref();
    Ok(Service {
        name,
        cluster_ips: if alias || headless { Box::default() } else { cluster_ips(&subject, spec)?.into() },
        kind,
        headless,
        external_ips: external_ips(&subject, spec, notes).into(),
        load_balancer_ips: ingress_ips(&subject, object.status.as_ref(), notes).into(),
        ingress: ingress(object.status.as_ref()).into(),
        source_ranges: source_ranges(&subject, spec, notes).into(),
        ports: service_ports(&subject, spec.ports.as_deref().unwrap_or_default())?.into(),
        selector: if alias { Labels::default() } else { shared_map(spec.selector.as_ref()) },
        affinity: affinity(&subject, spec)?,
        internal_policy: policy(
            &subject,
            "spec.internalTrafficPolicy",
            spec.internal_traffic_policy.as_deref(),
        )?,
        external_policy: policy(
            &subject,
            "spec.externalTrafficPolicy",
            spec.external_traffic_policy.as_deref(),
        )?,
        distribution: distribution(&subject, spec, annotations, notes),
        health_check_node_port: subject
            .port_or_none("spec.healthCheckNodePort", spec.health_check_node_port)?,
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or_default(),
        foreign_proxy: has_label(&object.metadata, PROXY_NAME_LABEL),
        labels: shared_map(object.metadata.labels.as_ref()),
        annotations: own_annotations(annotations),
    })
}

fn service_type(subject: &Subject, spec: &api::ServiceSpec) -> Result<ServiceType, Warning> {
    match spec.type_.as_deref().unwrap_or_default() {
        "" | "ClusterIP" => Ok(ServiceType::ClusterIp),
        "NodePort" => Ok(ServiceType::NodePort),
        "LoadBalancer" => Ok(ServiceType::LoadBalancer),
        "ExternalName" => match spec.external_name.as_deref().unwrap_or_default() {
            "" => Err(subject.warning("spec.externalName", "is missing, and the type is ExternalName")),
            target => Ok(ServiceType::ExternalName(target.into())),
        },
        other => Err(subject.warning("spec.type", format!("{other:?} is not a Service type"))),
    }
}

fn affinity(subject: &Subject, spec: &api::ServiceSpec) -> Result<SessionAffinity, Warning> {
    match spec.session_affinity.as_deref().unwrap_or_default() {
        "" | "None" => return Ok(SessionAffinity::None),
        "ClientIP" => {}
        other => {
            let problem = format!("{other:?} is neither ClientIP nor None");
            return Err(subject.warning("spec.sessionAffinity", problem));
        }
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let timeout_s = config.and_then(|client_ip| client_ip.timeout_seconds).unwrap_or(AFFINITY_DEFAULT_S);
    match u32::try_from(timeout_s) {
        Ok(seconds) if (1..=AFFINITY_MAX_S).contains(&timeout_s) => {
            Ok(SessionAffinity::ClientIp { timeout_s: seconds })
        }
        _ => Err(subject.warning(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            format!("{timeout_s} is not in 1 to {AFFINITY_MAX_S}"),
        )),
    }
}

fn policy(subject: &Subject, field: &str, value: Option<&str>) -> Result<TrafficPolicy, Warning> {
    match value.unwrap_or_default() {
        "" | "Cluster" => Ok(TrafficPolicy::Cluster),
        "Local" => Ok(TrafficPolicy::Local),
        other => Err(subject.warning(field, format!("{other:?} is neither Cluster nor Local"))),
    }
}

/// The annotation comes first: while it is set, the slice controller ignores the field (KEP-4444).
fn distribution(
    subject: &Subject,
    spec: &api::ServiceSpec,
    annotations: Option<&BTreeMap<String, String>>,
    notes: &mut Vec<Warning>,
) -> Option<TrafficDistribution> {
    let annotation = |name: &str| annotations?.get(name).map(String::as_str);
    let mode = annotation(TOPOLOGY_HINTS_ANNOTATION).or_else(|| annotation(TOPOLOGY_MODE_ANNOTATION));
    if matches!(mode, Some("Auto" | "auto")) {
        return Some(TrafficDistribution::PreferSameZone);
    }
    match spec.traffic_distribution.as_deref()? {
        "PreferClose" | "PreferSameZone" => Some(TrafficDistribution::PreferSameZone),
        "PreferSameNode" => Some(TrafficDistribution::PreferSameNode),
        other => {
            notes.push(
                subject.warning("spec.trafficDistribution", format!("{other:?} is not known; ignored")),
            );
            None
        }
    }
}

fn own_annotations(annotations: Option<&BTreeMap<String, String>>) -> Labels {
    let own = annotations.into_iter().flatten();
    own.filter_map(|(key, value)| Some((key.strip_prefix(OWN_ANNOTATIONS)?.into(), value.as_str().into())))
        .collect()
}
