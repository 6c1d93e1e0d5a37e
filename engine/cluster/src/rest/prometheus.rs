//! `/metrics`: what Prometheus scrapes, in its text format (version 0.0.4).

use std::fmt::Write;

use super::metrics::{self, Metrics};
use super::view::{ClusterView, JobView};

/// The media type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Lines of one metric stand together, as the format asks.
#[derive(Default)]
pub(super) struct Families(std::collections::BTreeMap<String, Vec<(String, f64)>>);

impl Families {
    fn add(&mut self, scope: &str, metrics: &Metrics, labels: &[(&str, &str)]) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        for (name, value) in metrics {
            let family = format!("flott_{scope}_{}", in_name(name));
            self.0.entry(family).or_default().push((labels.clone(), *value));
        }
    }

    pub(super) fn add_job(&mut self, job: &JobView, now: i64) {
        let id = job.id.to_string();
        let of_job = [("job_id", id.as_str()), ("job_name", job.graph.name.as_str())];
        self.add("jobmanager_job", &metrics::of_job(job, now), &of_job);
        if job.status.is_terminal() {
            return;
        }
        for vertex in job.vertices() {
            let vertex_id = super::view::vertex_id(vertex);
            for (index, report) in job.subtasks(vertex.id) {
                let index = index.to_string();
                let subtask =
                    flott_core::ids::SubtaskId { vertex: vertex.id, index: index.parse().unwrap_or(0) };
                let task_manager = job.placed.get(&subtask).map(|(id, _)| id.to_string()).unwrap_or_default();
                let mut labels = of_job.to_vec();
                labels.extend([("task_id", vertex_id.as_str()), ("task_name", vertex.name.as_str())]);
                labels.extend([("subtask_index", index.as_str()), ("tm_id", task_manager.as_str())]);
                self.add("taskmanager_job_task", &metrics::of_task(job, vertex, report), &labels);
                for (position, own) in metrics::of_operators(job, vertex, report) {
                    let operator = &vertex.operators[position];
                    let operator_id = super::view::operator_id(operator.key);
                    let mut labels = labels.clone();
                    labels.extend([("operator_id", operator_id.as_str()), ("operator_name", &operator.name)]);
                    self.add("taskmanager_job_task_operator", &own, &labels);
                }
            }
        }
    }

    pub(super) fn text(self) -> String {
        let mut text = String::new();
        for (family, lines) in self.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# TYPE {family} gauge");
            for (labels, value) in lines {
                let _ = writeln!(text, "{family}{labels} {value}");
            }
        }
        text
    }
}

fn in_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Everything that is counted.
pub(super) fn scrape(view: &dyn ClusterView, now: i64) -> String {
    let mut families = Families::default();
    families.add("jobmanager", &metrics::of_job_manager(view), &[]);
    for member in view.task_managers() {
        let id = member.id.to_string();
        let labels = [("tm_id", id.as_str()), ("host", member.host())];
        families.add("taskmanager", &metrics::of_task_manager(&member), &labels);
    }
    for job in view.jobs() {
        families.add_job(&job, now);
    }
    families.text()
}
