//! What a person sees while a run goes on: a bar while connecting, then a line a second.

use crate::plan::Plan;
use crate::run::{Observer, Second};
use indicatif::{ProgressBar, ProgressStyle};

/// Shows progress on standard error.
#[derive(Default)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Observer for Progress {
    fn stage(&mut self, stage: &str, plan: &Plan) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
        if matches!(stage, "ramp" | "storm") {
            let bar = ProgressBar::new(plan.connections().into());
            let template = "{msg:>7} {bar:40} {pos}/{len}  {per_sec}  {elapsed}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(stage.to_owned());
            self.bar = Some(bar);
        }
    }

    fn live(&mut self, live: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(live);
        }
    }

    fn second(&mut self, second: &Second) {
        let line = format!(
            "{:7.1} s {:>7}  live {:>8}  published {:>9}/s  delivered {:>10}/s  p50 {:>9.3} ms  \
             p99 {:>9.3} ms  max {:>9.3} ms  server {:.2} cores {:>7.1} MiB",
            second.at_s,
            second.stage,
            second.live,
            second.published,
            second.delivered,
            second.p50_us / 1e3,
            second.p99_us / 1e3,
            second.max_us / 1e3,
            second.server_cores,
            second.server_pss_bytes as f64 / 1048576.0
        );
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}
