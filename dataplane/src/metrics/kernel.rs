//! What the kernel counted, read from the pinned maps when it is asked for.

use std::fmt;
use std::path::{Path, PathBuf};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use seaway_common::{MapName, Reason};

use crate::counters::Counters;
use crate::kernel_maps::KernelMaps;

/// The maps of an agent. Until they are there, nothing is told.
#[derive(Debug)]
pub(super) struct Kernel {
    maps: PathBuf,
}

impl Kernel {
    pub(super) fn new(maps: &Path) -> Self {
        Self { maps: maps.to_owned() }
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
        let Ok(flows) = maps.flows() else { return Ok(()) };
        let v4 = flows.iter().filter(|(key, _)| key.src.is_v4()).count();
        let help = "Flow entries, two a flow";
        let mut family = encoder.encode_descriptor("seaway_ct_entries", help, None, MetricType::Gauge)?;
        for (name, count) in [(MapName::FlowsV4, v4), (MapName::FlowsV6, flows.len() - v4)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&[("map", name.as_str())])?)?;
        }
        Ok(())
    }
}

impl Collector for Kernel {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.reasons(&mut encoder)?;
        self.flows(&mut encoder)
    }
}
