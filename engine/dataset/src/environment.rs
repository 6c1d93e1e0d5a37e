//! The environment of a program: sources, settings, and `execute`.

use std::fmt::Display;
use std::sync::Arc;

use flott_cluster::execute_job;
use flott_cluster::program::{ProgramError, base_configuration, recorded, same_everywhere};
use flott_cluster::result::JobResult;
use flott_core::Data;
use flott_core::config::{self, Configuration};
use flott_fs::FsPath;
use flott_fs::text::InvalidUtf8;
use flott_plan::data_graph::{DataOperator, Estimate};
use flott_plan::{JobGraph, OperatorKey, OptimizerSettings, Origin};
use flott_runtime::program::Program;
use flott_runtime::source::{CollectionSource, SequenceSource, Source, TextFileSource};
use flott_runtime::watermark::WatermarkStrategy;

use crate::builder::{Builder, NewNode};
use crate::data_set::DataSet;

/// Where a DataSet program begins.
pub struct ExecutionEnvironment {
    builder: Builder,
}

impl ExecutionEnvironment {
    /// With what whoever started the program has set, or the configuration in `FLOTT_CONF_DIR`, if that is set. In a program that
    /// runs its jobs itself the parallelism is the number of the machine's cores, where nobody sets one.
    ///
    /// # Errors
    /// [`ProgramError::Config`] that names the file and the key.
    pub fn new() -> Result<Self, ProgramError> {
        Ok(Self::with_configuration(base_configuration()?))
    }

    /// With this configuration.
    pub fn with_configuration(configuration: Configuration) -> Self {
        Self { builder: Builder::new(configuration) }
    }

    /// The configuration so far.
    pub fn configuration(&self) -> Configuration {
        self.builder.configuration()
    }

    /// Sets a configuration key.
    ///
    /// # Errors
    /// [`ProgramError::Config`] that names the nearest key, or what values there are.
    pub fn configure(&self, key: &str, value: impl Display) -> Result<&Self, ProgramError> {
        self.builder.configure(|configuration| configuration.set(key, &value.to_string()))?;
        Ok(self)
    }

    /// How many subtasks operators have that do not say.
    ///
    /// # Errors
    /// [`ProgramError::Config`] if it is 0 or more than 32,768.
    pub fn set_parallelism(&self, parallelism: u32) -> Result<&Self, ProgramError> {
        self.configure(config::PARALLELISM.key, parallelism)
    }

    /// Records of a source; `estimate` is how much it gives, as far as that can be told.
    #[track_caller]
    pub fn from_source<S: Source>(
        &self,
        source: S,
        estimate: Estimate,
        name: &'static str,
    ) -> DataSet<S::Out> {
        self.source(source, estimate, name, Origin::caller())
    }

    fn source<S: Source>(
        &self,
        source: S,
        estimate: Estimate,
        name: &'static str,
        origin: Origin,
    ) -> DataSet<S::Out> {
        let reads = source.reads().iter().map(ToString::to_string).collect();
        let source = Arc::new(source);
        let register = Box::new(move |program: &mut Program, id| {
            program.source(OperatorKey::new(id), Arc::clone(&source), WatermarkStrategy::no_watermarks());
        });
        let node = NewNode::new::<S::Out>(name, DataOperator::Source { estimate }, origin, register);
        let node = NewNode { reads, ..node };
        let id = self.builder.add(node, Vec::new());
        DataSet::of_node(self.builder.clone(), id)
    }

    /// Given records.
    #[track_caller]
    pub fn from_collection<T: Data + Sync>(&self, records: impl IntoIterator<Item = T>) -> DataSet<T> {
        let records: Vec<T> = same_everywhere(|| records.into_iter().collect());
        let bytes: usize = records.iter().map(Data::size_estimate).sum();
        let estimate = Estimate { bytes: Some(bytes as u64), records: Some(records.len() as u64) };
        self.source(CollectionSource::new(records), estimate, "collection", Origin::caller())
    }

    /// The numbers `from..=to`.
    #[track_caller]
    pub fn generate_sequence(&self, from: i64, to: i64) -> DataSet<i64> {
        let records = if from > to { 0 } else { to.abs_diff(from).saturating_add(1) };
        let estimate = Estimate { bytes: Some(records.saturating_mul(8)), records: Some(records) };
        self.source(SequenceSource::new(from, to), estimate, "sequence", Origin::caller())
    }

    /// The lines of a text file, or of all files below a folder; names that begin with `.` or `_` are left out. A line that
    /// is not UTF-8 fails the job with its place.
    ///
    /// # Errors
    /// [`ProgramError::Path`] if `path` is none.
    #[track_caller]
    pub fn read_text_file(&self, path: &str) -> Result<DataSet<String>, ProgramError> {
        self.text(vec![path.parse()?], InvalidUtf8::Fail, Origin::caller())
    }

    /// The lines of several files and folders; see [`read_text_file`](Self::read_text_file).
    ///
    /// # Errors
    /// [`ProgramError::Path`] if one of `paths` is none.
    #[track_caller]
    pub fn read_text_files(
        &self,
        paths: &[String],
        on_invalid: InvalidUtf8,
    ) -> Result<DataSet<String>, ProgramError> {
        let origin = Origin::caller();
        self.text(paths.iter().map(|path| path.parse()).collect::<Result<_, _>>()?, on_invalid, origin)
    }

    fn text(
        &self,
        paths: Vec<FsPath>,
        on_invalid: InvalidUtf8,
        origin: Origin,
    ) -> Result<DataSet<String>, ProgramError> {
        let bytes = same_everywhere(|| size_of(&paths));
        let estimate = Estimate { bytes, records: None };
        Ok(self.source(TextFileSource::new(paths, on_invalid), estimate, "text files", origin))
    }

    /// A value that is the same in every process of a job: `make` is called where the program is planned, and its value handed to the
    /// workers, which call `main` again. For all that `main` reads from outside: the clock, files, random numbers.
    ///
    /// # Errors
    /// [`ProgramError::Record`] if `name` was used before, or if `main` goes another way in a worker than when it was planned.
    pub fn once<T: Data>(&self, name: &str, make: impl FnOnce() -> T) -> Result<T, ProgramError> {
        Ok(recorded(&format!("once/{name}"), make)?)
    }

    /// Plans the sinks that no job has run yet, without running them.
    ///
    /// # Errors
    /// [`ProgramError::Plan`] that names the operator and the line that made it.
    pub fn plan(&self, name: &str) -> Result<(JobGraph, Program), ProgramError> {
        self.builder.plan(name)
    }

    /// Runs the sinks that no job has run yet, to their end.
    ///
    /// # Errors
    /// [`ProgramError`]: what is wrong with the plan, or what failed.
    pub fn execute(&self, name: &str) -> Result<JobResult, ProgramError> {
        self.builder.execute(name)
    }
}

impl Builder {
    fn plan(&self, name: &str) -> Result<(JobGraph, Program), ProgramError> {
        let (graph, program) = self.program(name);
        let plan = graph.optimize(OptimizerSettings::of(&self.configuration()))?;
        Ok((plan.to_job_graph()?, program))
    }

    pub(crate) fn execute(&self, name: &str) -> Result<JobResult, ProgramError> {
        let planned = self.plan(name);
        // What cannot be planned or has failed is not tried again with the next sink.
        self.sinks_are_done();
        let (graph, program) = planned?;
        Ok(execute_job(graph, program, &self.configuration(), None)?)
    }
}

/// The size of files and folders; none, if one of them cannot be read: the job will say why.
fn size_of(paths: &[FsPath]) -> Option<u64> {
    let size = |path: &FsPath| {
        let files = flott_fs::for_path(path).and_then(|system| system.list_files(path)).ok()?;
        Some(files.iter().map(|file| file.length).sum::<u64>())
    };
    paths.iter().map(size).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
