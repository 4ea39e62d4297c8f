//! Services.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as corev1;

use super::service_port::service_ports;
use super::subject::{Subject, has_label, shared_map};
use crate::address::{parse_ip, parse_range};
use crate::{
    AddressFamily, Kind, Service, ServiceType, SessionAffinity, TrafficDistribution, TrafficPolicy, Warning,
};

const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
const TOPOLOGY_MODE_ANNOTATION: &str = "service.kubernetes.io/topology-mode";
const OWN_ANNOTATIONS: &str = "seaway.io/";
/// The value of `spec.clusterIP` of a headless Service.
pub(crate) const NO_CLUSTER_IP: &str = "None";
const AFFINITY_DEFAULT_S: i32 = 10_800;
const AFFINITY_MAX_S: i32 = 86_400;

/// The facts of a Service.
///
/// # Errors
/// The warning for a Service that the API server would refuse: it is left out.
pub fn service(object: &corev1::Service, notes: &mut Vec<Warning>) -> Result<Service, Warning> {
    let (subject, name) = Subject::namespaced(Kind::Service, &object.metadata)?;
    let default_spec = corev1::ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&default_spec);
    let kind = service_type(&subject, spec)?;
    let alias = matches!(kind, ServiceType::ExternalName(_));
    let headless = !alias && is_headless(spec);
    let annotations = object.metadata.annotations.as_ref();
    Ok(Service {
        name,
        cluster_ips: if alias || headless { Vec::new() } else { cluster_ips(&subject, spec)? },
        kind,
        headless,
        external_ips: subject.addresses(indexed("spec.externalIPs", spec.external_ips.as_deref()), notes),
        load_balancer_ips: ingress_ips(&subject, object.status.as_ref(), notes),
        source_ranges: source_ranges(&subject, spec, notes),
        ports: service_ports(&subject, spec.ports.as_deref().unwrap_or_default())?,
        selector: if alias { BTreeMap::new() } else { shared_map(spec.selector.as_ref()) },
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
        annotations: own_annotations(annotations),
    })
}

/// Whether `spec.clusterIP` says that the Service has no virtual address.
pub(crate) fn is_headless(spec: &corev1::ServiceSpec) -> bool {
    cluster_ip_texts(spec).first() == Some(&NO_CLUSTER_IP)
}

/// `clusterIPs`, or what `clusterIP` says where the list is absent.
pub(crate) fn cluster_ip_texts(spec: &corev1::ServiceSpec) -> Vec<&str> {
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    if listed.is_empty() {
        spec.cluster_ip.as_deref().filter(|text| !text.is_empty()).into_iter().collect()
    } else {
        listed.iter().map(String::as_str).collect()
    }
}

fn service_type(subject: &Subject, spec: &corev1::ServiceSpec) -> Result<ServiceType, Warning> {
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

/// The cluster IP of each family: the one at the family's place in `ipFamilies`, or, without
/// families, only `spec.clusterIP` (kube-proxy `GetClusterIPByFamily`).
fn cluster_ips(subject: &Subject, spec: &corev1::ServiceSpec) -> Result<Vec<IpAddr>, Warning> {
    let texts = cluster_ip_texts(spec);
    let single = spec.cluster_ip.as_deref().unwrap_or_default();
    if !single.is_empty() && texts.first() != Some(&single) {
        let problem = format!("{:?} is not spec.clusterIP {single:?}, as it must be", texts[0]);
        return Err(subject.warning("spec.clusterIPs[0]", problem));
    }
    let families = spec.ip_families.as_deref().unwrap_or_default();
    let kept = if families.is_empty() { 1 } else { families.len() };
    let mut addresses = Vec::new();
    for (index, text) in texts.into_iter().enumerate().take(kept) {
        let field = format!("spec.clusterIPs[{index}]");
        let Some(address) = parse_ip(text) else {
            return Err(subject.warning(field, format!("{text:?} is not an IP address")));
        };
        let family = AddressFamily::of(address);
        if families.get(index).is_some_and(|declared| declared != family.as_str()) {
            let problem = format!("{address} is not of the family spec.ipFamilies[{index}] says");
            return Err(subject.warning(field, problem));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// Addresses that the proxy has to serve: an absent mode means `VIP`, and every other mode than
/// that one says that the load balancer answers for itself (KEP-1860).
fn ingress_ips(
    subject: &Subject,
    status: Option<&corev1::ServiceStatus>,
    notes: &mut Vec<Warning>,
) -> Vec<IpAddr> {
    let ingress = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_deref());
    let texts = ingress.unwrap_or_default().iter().enumerate().filter_map(|(index, entry)| {
        let text = entry.ip.as_deref().filter(|text| !text.is_empty())?;
        let virtual_ip = entry.ip_mode.as_deref().is_none_or(|mode| mode == "VIP");
        virtual_ip.then(|| (format!("status.loadBalancer.ingress[{index}].ip"), text))
    });
    subject.addresses(texts, notes)
}

fn source_ranges(subject: &Subject, spec: &corev1::ServiceSpec, notes: &mut Vec<Warning>) -> Vec<IpNet> {
    let mut ranges = Vec::new();
    for (field, text) in indexed("spec.loadBalancerSourceRanges", spec.load_balancer_source_ranges.as_deref())
    {
        match parse_range(text) {
            Some(range) => ranges.push(range),
            None => notes.push(subject.warning(
                field,
                format!(
                    "{text:?} is not an address range; left out (with no range left, every source is let in)"
                ),
            )),
        }
    }
    ranges
}

fn affinity(subject: &Subject, spec: &corev1::ServiceSpec) -> Result<SessionAffinity, Warning> {
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
    spec: &corev1::ServiceSpec,
    annotations: Option<&BTreeMap<String, String>>,
    notes: &mut Vec<Warning>,
) -> Option<TrafficDistribution> {
    let mode = annotations.and_then(|all| all.get(TOPOLOGY_MODE_ANNOTATION)).map(String::as_str);
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

fn own_annotations(annotations: Option<&BTreeMap<String, String>>) -> BTreeMap<Arc<str>, Arc<str>> {
    let own = annotations.into_iter().flatten();
    own.filter_map(|(key, value)| Some((key.strip_prefix(OWN_ANNOTATIONS)?.into(), value.as_str().into())))
        .collect()
}

fn indexed<'a>(field: &str, texts: Option<&'a [String]>) -> impl Iterator<Item = (String, &'a str)> {
    let texts = texts.unwrap_or_default().iter().enumerate();
    texts.map(move |(index, text)| (format!("{field}[{index}]"), text.as_str()))
}
