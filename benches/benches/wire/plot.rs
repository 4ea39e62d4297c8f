//! The figures as a picture.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::road::Kind;

const SIZE: (u32, u32) = (720, 400);

/// Writes an SVG: packets a second over the number of Services, a line for each path.
pub(super) fn write(path: &Path, points: &[(Kind, u32, f64)]) -> Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    draw(&root, points).and_then(|()| root.present().map_err(|error| anyhow!("{error}")))
}

fn draw(
    root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    points: &[(Kind, u32, f64)],
) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw: {error}");
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let most = points.iter().map(|(.., rate)| rate / 1e6).fold(0.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(root)
        .caption("packets through one CPU of a node", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d((1u32..20_000u32).log_scale(), 0.0..most)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_desc("Services")
        .y_desc("million packets a second")
        .draw()
        .map_err(|error| failed(&error))?;
    for (kind, color) in [(Kind::Xdp, BLUE), (Kind::Tcx, GREEN), (Kind::Nftables, RED)] {
        let line =
            points.iter().filter(|(of, ..)| *of == kind).map(|(_, services, rate)| (*services, rate / 1e6));
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)).point_size(4))
            .map_err(|error| failed(&error))?
            .label(kind.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(BLACK).draw().map_err(|error| failed(&error))?;
    Ok(())
}
