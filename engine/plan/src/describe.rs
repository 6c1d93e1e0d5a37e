//! The JobGraph as text, for people: a paragraph a vertex with its chain as a tree, and what comes in.
//!
//! ```text
//! [2] Count -> Sink: print
//!     parallelism 2 (max 128), slot sharing group 'default', managed memory weight 1 of 1
//!     reads [1] HASH, pipelined, flushed after 10 ms
//!     Count          stateful, uid 'count', managed memory weight 1, src/main.rs:12
//!     └ Sink: print  src/main.rs:13
//! ```

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use flott_core::config::is_sensitive;

use crate::job_graph::{
    ChainedOperator, ExecutionMode, JobEdge, JobGraph, JobVertex, OutputPort, Variant, VertexRole,
};

impl JobGraph {
    /// The configuration as it may be shown: without the values of sensitive keys.
    pub(crate) fn shown_configuration(&self) -> BTreeMap<&str, &str> {
        let shown = |(key, value)| (key, if is_sensitive(key) { "******" } else { value });
        self.configuration.iter().map(|(key, value)| (key.as_str(), value.as_str())).map(shown).collect()
    }

    /// The graph as text.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_to(&mut text);
        text
    }

    fn write_to(&self, text: &mut String) -> fmt::Result {
        let mode = match self.mode {
            ExecutionMode::Streaming => "streaming",
            ExecutionMode::Batch => "batch",
        };
        let slots: Vec<String> =
            self.slots_by_group().iter().map(|(group, slots)| format!("{slots} of '{group}'")).collect();
        writeln!(text, "Job '{}', {mode} mode", self.name)?;
        let needed = self.slots_needed();
        let plural = if needed == 1 { "" } else { "s" };
        writeln!(text, "needs {needed} slot{plural} ({})", slots.join(", "))?;
        writeln!(text, "program {}", self.program_hash)?;
        for (key, value) in self.shown_configuration() {
            writeln!(text, "    {key}: {value}")?;
        }
        self.vertices.iter().try_for_each(|vertex| self.write_vertex(vertex, text))
    }

    fn write_vertex(&self, vertex: &JobVertex, text: &mut String) -> fmt::Result {
        writeln!(text, "\n[{}] {}", vertex.id, vertex.name)?;
        write!(text, "    ")?;
        if vertex.role == VertexRole::Enumerator {
            write!(text, "{}, ", vertex.role)?;
        }
        write!(
            text,
            "parallelism {} (max {}), slot sharing group '{}'",
            vertex.parallelism,
            vertex.max_parallelism.get(),
            vertex.slot_sharing_group
        )?;
        let weight = vertex.managed_memory_weight();
        if weight > 0 {
            let of = self.group_memory_weight(&vertex.slot_sharing_group);
            write!(text, ", managed memory weight {weight} of {of}")?;
        }
        if vertex.blocking {
            write!(text, ", threads of their own")?;
        }
        writeln!(text)?;
        for edge in self.inputs(vertex.id) {
            writeln!(text, "    {}", describe_edge(edge))?;
        }
        let rows = tree(&vertex.operators);
        let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        for (label, operator) in rows {
            writeln!(text, "    {label:width$}  {}", describe_operator(operator))?;
        }
        Ok(())
    }
}

fn describe_edge(edge: &JobEdge) -> String {
    let mut parts = vec![format!("reads [{}] {}", edge.source, edge.partitioning), edge.mode.to_string()];
    if let OutputPort::Side(tag) = &edge.key.output {
        parts.push(format!("side output '{tag}'"));
    }
    if edge.input > 0 {
        parts.push(format!("as input {}", edge.input));
    }
    match edge.buffer_timeout_ms {
        None => {}
        Some(0) => parts.push("flushed at once".to_owned()),
        Some(timeout) => parts.push(format!("flushed after {timeout} ms")),
    }
    parts.join(", ")
}

fn describe_operator(operator: &ChainedOperator) -> String {
    let mut parts = Vec::new();
    if !matches!(operator.key.variant, Variant::Default | Variant::Enumerator) {
        parts.push(operator.key.variant.to_string());
    }
    if operator.stateful {
        parts.push("stateful".to_owned());
    }
    if let Some(uid) = &operator.uid {
        parts.push(format!("uid '{uid}'"));
    }
    if operator.managed_memory_weight > 0 {
        parts.push(format!("managed memory weight {}", operator.managed_memory_weight));
    }
    if let Some(group) = &operator.watermark_group {
        parts.push(format!("watermarks aligned in '{group}'"));
    }
    if let Some(OutputPort::Side(tag)) = operator.input.as_ref().map(|input| &input.output) {
        parts.push(format!("reads side output '{tag}'"));
    }
    parts.push(operator.origin.to_string());
    parts.join(", ")
}

/// A chain's operators, each with its name behind lines that lead from the one that feeds it.
fn tree(operators: &[ChainedOperator]) -> Vec<(String, &ChainedOperator)> {
    let mut fed: Vec<Vec<usize>> = vec![Vec::new(); operators.len()];
    for (position, operator) in operators.iter().enumerate() {
        if let Some(input) = &operator.input {
            fed[input.operator].push(position);
        }
    }
    let mut rows = Vec::with_capacity(operators.len());
    // Position, the lines of its own row, the lines before the rows of those it feeds.
    let mut pending = vec![(0, String::new(), String::new())];
    while let Some((position, own, behind)) = pending.pop() {
        let operator = &operators[position];
        rows.push((format!("{own}{}", operator.name), operator));
        for (nth, next) in fed[position].iter().enumerate().rev() {
            let is_last = nth + 1 == fed[position].len();
            let (own, line) = if is_last { ("└ ", "  ") } else { ("├ ", "│ ") };
            pending.push((*next, format!("{behind}{own}"), format!("{behind}{line}")));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use crate::testing::word_count;

    #[test]
    fn secrets_are_not_shown() {
        let mut graph = word_count().to_job_graph().unwrap();
        graph.configuration.insert("user.db.Password".into(), "hunter2".into());
        graph.configuration.insert("user.db.name".into(), "orders".into());
        for shown in [graph.describe(), graph.to_json()] {
            assert!(!shown.contains("hunter2") && shown.contains("******") && shown.contains("orders"));
        }
    }
}
