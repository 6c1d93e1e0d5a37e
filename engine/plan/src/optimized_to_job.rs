//! OptimizedPlan → JobGraph. All is chosen; only chains are made, in [`physical`](crate::physical).

use crate::error::PlanError;
use crate::job_graph::{ExecutionMode, JobGraph, OutputPort};
use crate::optimized_plan::{OptimizedPlan, PlanInput, PlanNode};
use crate::physical::{PhysicalEdge, PhysicalNode, PhysicalPlan};
use crate::resolve::{JobSettings, Width};
use crate::stream_graph::Chaining;
use crate::stream_to_job::DEFAULT_GROUP;

impl OptimizedPlan {
    /// The job that runs this plan.
    ///
    /// # Errors
    /// [`PlanError`] if the configuration is not one, or the plan contradicts itself, which those of
    /// [`DataGraph::optimize`](crate::data_graph::DataGraph::optimize) do not.
    pub fn to_job_graph(&self) -> Result<JobGraph, PlanError> {
        let settings = JobSettings::of(&self.configuration)?;
        for (position, node) in self.nodes.iter().enumerate() {
            if let Some(input) = node.inputs.iter().find(|input| input.source.0 >= position) {
                let reason =
                    format!("node {position} reads node {}, which does not stand before it", input.source.0);
                return Err(PlanError::Invalid { job: self.name.clone(), reason });
            }
        }
        let targets = self.nodes.iter().enumerate();
        let edges = targets
            .flat_map(|(target, node)| node.inputs.iter().map(move |input| physical_edge(target, input)));
        let plan = PhysicalPlan {
            name: self.name.clone(),
            mode: ExecutionMode::Batch,
            nodes: self.nodes.iter().map(physical_node).collect(),
            edges: edges.collect(),
            configuration: self.configuration.clone(),
            program: self.program.clone(),
        };
        let chains = plan.chains(settings.chaining);
        let job = plan.assemble(&chains);
        job.validate()?;
        Ok(job)
    }
}

fn physical_node(node: &PlanNode) -> PhysicalNode {
    PhysicalNode {
        key: node.key,
        name: node.name.clone(),
        uid: node.uid.clone(),
        origin: node.origin.clone(),
        is_source: node.is_source,
        reads: node.reads.clone(),
        width: Width {
            parallelism: node.parallelism,
            max_parallelism: node.max_parallelism,
            own_max_parallelism: false,
        },
        slot_sharing_group: DEFAULT_GROUP.to_owned(),
        chaining: if node.blocking { Chaining::OwnThread } else { Chaining::Always },
        stateful: false,
        watermark_group: None,
        managed_memory_weight: node.local.managed_memory_weight(),
    }
}

fn physical_edge(target: usize, input: &PlanInput) -> PhysicalEdge {
    PhysicalEdge {
        source: input.source.0,
        output: OutputPort::Main,
        target,
        input: input.input,
        partitioning: input.ship.partitioning(),
        mode: input.mode,
        // Nobody waits for the single record of a batch job.
        buffer_timeout_ms: None,
    }
}
