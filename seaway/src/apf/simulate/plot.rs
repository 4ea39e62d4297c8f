//! Seats and waits over time, as an SVG.

use super::report::Report;
use plotters::prelude::SeriesLabelPosition;
use plotters::prelude::{
    BLACK, ChartBuilder, Color, HSLColor, IntoDrawingArea, LineSeries, PathElement, RGBColor, SVGBackend,
    WHITE,
};
use std::path::Path;

const WIDTH: u32 = 900;
const RUN_HEIGHT: u32 = 420;

/// Draws every run below the one before: seats taken above, waits below.
pub(super) fn draw(path: &Path, reports: &[Report]) -> anyhow::Result<()> {
    let runs = u32::try_from(reports.len())?;
    let root = SVGBackend::new(path, (WIDTH, RUN_HEIGHT * runs)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    for (area, report) in root.split_evenly((reports.len(), 1)).iter().zip(reports) {
        let panels = area.split_evenly((2, 1));
        for (curve, (panel, title)) in panels.iter().zip(["seats taken", "mean wait (ms)"]).enumerate() {
            let highest =
                report.flows.values().flat_map(|flow| &flow.curves[curve]).copied().fold(1.0, f64::max);
            let mut chart = ChartBuilder::on(panel)
                .caption(format!("{}: {title}", report.name), ("sans-serif", 15))
                .margin(8)
                .x_label_area_size(24)
                .y_label_area_size(44)
                .build_cartesian_2d(0.0..report.seconds, 0.0..highest * 1.05)
                .map_err(failed)?;
            chart.configure_mesh().light_line_style(WHITE).x_desc("seconds").draw().map_err(failed)?;
            for (index, (name, flow)) in report.flows.iter().enumerate() {
                let color = HSLColor(index as f64 / report.flows.len() as f64, 0.75, 0.42);
                let points = flow.curves[curve].iter().enumerate().map(|(at, value)| {
                    ((at as f64 + 0.5) * report.seconds / flow.curves[curve].len() as f64, *value)
                });
                let drawn =
                    chart.draw_series(LineSeries::new(points, color.stroke_width(2))).map_err(failed)?;
                if curve == 0 {
                    drawn
                        .label(name)
                        .legend(move |(x, y)| PathElement::new([(x, y), (x + 12, y)], color.stroke_width(2)));
                }
            }
            if curve == 0 {
                chart
                    .configure_series_labels()
                    .position(SeriesLabelPosition::UpperLeft)
                    .background_style(RGBColor(255, 255, 255).mix(0.8))
                    .border_style(BLACK.mix(0.2))
                    .draw()
                    .map_err(failed)?;
            }
        }
    }
    root.present().map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}
