//! What the kernel counted, read from the pinned maps when it is asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use seaway_common::{BackendValue, MapName, NameValue, Reason};

use crate::counters::Counters;
use crate::desired::protocol_of;
use crate::kernel_maps::KernelMaps;
use crate::maps::Maps;
use crate::port_tries;
use crate::usage;

/// Endpoints whose packets are told.
const BACKENDS_MAX: usize = 2_000;

/// The maps of an agent. Until they are there, nothing is told.
#[derive(Debug)]
pub(super) struct Kernel {
    maps: PathBuf,
    /// The most evictions that were found.
    evicted: AtomicU64,
}

impl Kernel {
    pub(super) fn new(maps: &Path) -> Self {
        Self { maps: maps.to_owned(), evicted: AtomicU64::new(0) }
    }

    fn reasons(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Ok(counters) = Counters::open(&self.maps) else { return Ok(()) };
        let help = "Packets and calls that were not translated, by reason";
        let mut family = encoder.encode_descriptor("seaway_drops", help, None, MetricType::Counter)?;
        for reason in Reason::ALL {
            if let Ok(count) = counters.reason(*reason) {
                let labels = [("reason", reason.label())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn flows(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Ok(maps) = KernelMaps::open(&self.maps) else { return Ok(()) };
        let Ok(config) = maps.config() else { return Ok(()) };
        let (mut v4, mut v6, mut retries) = (0i64, 0i64, [0i64; port_tries::TRIES as usize]);
        let evicted = maps.each_flow_and_evictions(|key, value| {
            *(if key.src.is_v4() { &mut v4 } else { &mut v6 }) += 1;
            let tried = port_tries::in_vain(&key, &value, &config);
            if let Some(count) = tried.and_then(|tried| retries.get_mut(tried as usize)) {
                *count += 1;
            }
        });
        let Ok(evicted) = evicted else { return Ok(()) };
        // A look in the midst of traffic finds fewer than an earlier one.
        let evicted = self.evicted.fetch_max(evicted, Ordering::Relaxed).max(evicted);
        let help = "Flow entries that went for others while a map was full; at least so many";
        let family = encoder.encode_descriptor("seaway_ct_evictions", help, None, MetricType::Counter)?;
        ConstCounter::new(evicted).encode(family)?;
        let help = "Flow entries, two a flow";
        let mut family = encoder.encode_descriptor("seaway_ct_entries", help, None, MetricType::Gauge)?;
        for (name, count) in [(MapName::FlowsV4, v4), (MapName::FlowsV6, v6)] {
            ConstGauge::new(count).encode(family.encode_family(&[("map", name.as_str())])?)?;
        }
        let help = "Flows by how many source ports were taken by others before they got theirs";
        let mut family =
            encoder.encode_descriptor("seaway_nat_alloc_retries", help, None, MetricType::Gauge)?;
        for (tried, count) in retries.into_iter().enumerate() {
            ConstGauge::new(count).encode(family.encode_family(&[("retries", tried.to_string())])?)?;
        }
        Ok(())
    }
}

impl Kernel {
    fn bytes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Memory that a map takes";
        let mut family = encoder.encode_descriptor("seaway_map_bytes", help, None, MetricType::Gauge)?;
        for map in MapName::ALL {
            let Ok(bytes) = usage::bytes(&self.maps, *map) else { continue };
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            ConstGauge::new(bytes).encode(family.encode_family(&[("map", map.as_str())])?)?;
        }
        Ok(())
    }

    /// Packets of the endpoints that had some. A scrape of a hundred thousand lines helps nobody, so
    /// beyond a limit those of the busiest are told.
    fn backends(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (Ok(maps), Ok(counters)) = (KernelMaps::open(&self.maps), Counters::open(&self.maps)) else {
            return Ok(());
        };
        let (Ok(backends), Ok(names)) = (maps.backends(), maps.names()) else { return Ok(()) };
        let names: BTreeMap<u32, NameValue> = names.into_iter().collect();
        let counted = backends.iter().filter_map(|(id, value)| {
            let packets = counters.backend(*id).ok()?.packets;
            (packets != 0).then_some((packets, value))
        });
        let mut counted: Vec<(u64, &BackendValue)> = counted.collect();
        counted.sort_by_key(|(packets, _)| std::cmp::Reverse(*packets));
        counted.truncate(BACKENDS_MAX);
        let help = "Packets that were translated towards an endpoint";
        let mut family =
            encoder.encode_descriptor("seaway_backend_packets", help, None, MetricType::Counter)?;
        for (packets, value) in counted {
            let address = SocketAddr::new(value.addr.into(), value.port.get()).to_string();
            let service = names.get(&value.service).map(NameValue::as_str).unwrap_or_default();
            let protocol = protocol_of(value.proto).map(|protocol| protocol.to_string().to_lowercase());
            let protocol = protocol.unwrap_or_default();
            let labels =
                [("backend", address.as_str()), ("protocol", protocol.as_str()), ("service", service)];
            ConstCounter::new(packets).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Kernel {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.reasons(&mut encoder)?;
        self.flows(&mut encoder)?;
        self.bytes(&mut encoder)?;
        self.backends(&mut encoder)
    }
}
