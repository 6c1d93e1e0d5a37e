//! The environment of a program: sources, settings, and `execute`.

use std::fmt::Display;
use std::sync::Arc;

use flott_cluster::checkpoint::read_checkpoint;
use flott_cluster::program::{ProgramError, base_configuration, recorded, same_everywhere};
use flott_cluster::{JobResult, execute_job};
use flott_core::Data;
use flott_core::config::{self, Configuration};
use flott_core::ids::JobId;
use flott_fs::FsPath;
use flott_fs::text::InvalidUtf8;
use flott_plan::stream_graph::NodeKind;
use flott_plan::{JobGraph, Origin};
use flott_runtime::program::Program;
use flott_runtime::source::{
    Boundedness, CollectionSource, GeneratorSource, SequenceSource, SocketTextSource, Source, TextFileSource,
};
use flott_runtime::watermark::WatermarkStrategy;

use crate::builder::{Builder, NewNode, RegisterOperator};
use crate::data_stream::DataStream;
use crate::sinks::Collected;

/// Where a DataStream program begins.
pub struct StreamExecutionEnvironment {
    builder: Builder,
}

/// What is left of an execution.
#[derive(Debug, Clone)]
pub struct JobExecutionResult {
    result: JobResult,
}

impl JobExecutionResult {
    /// What the job counted.
    pub fn job(&self) -> &JobResult {
        &self.result
    }

    /// The job's id.
    pub fn job_id(&self) -> JobId {
        self.result.job
    }

    /// What was collected.
    ///
    /// # Errors
    /// [`ProgramError::Collected`] if the records cannot be read: never, as long as their codec keeps its promise.
    pub fn get<T: Data>(&self, collected: &Collected<T>) -> Result<Vec<T>, ProgramError> {
        Ok(self.result.records(collected.operator())?)
    }
}

impl StreamExecutionEnvironment {
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

    /// The configuration as it stands.
    pub fn configuration(&self) -> Configuration {
        self.builder.configuration()
    }

    /// Sets a configuration key for this program.
    ///
    /// # Errors
    /// [`ProgramError::Config`] that names the key, and the nearest known one.
    pub fn configure(&self, key: &str, value: impl Display) -> Result<&Self, ProgramError> {
        self.builder.configure(|configuration| configuration.set(key, &value.to_string()))?;
        Ok(self)
    }

    /// The parallelism of operators that set none themselves.
    ///
    /// # Errors
    /// None for a number; the plan refuses 0 and names the operator.
    pub fn set_parallelism(&self, parallelism: u32) -> Result<&Self, ProgramError> {
        self.configure(config::PARALLELISM.key, parallelism)
    }

    /// Takes a checkpoint every `interval_ms` milliseconds.
    ///
    /// # Errors
    /// None for a number.
    pub fn enable_checkpointing(&self, interval_ms: u64) -> Result<&Self, ProgramError> {
        self.configure(config::CHECKPOINT_INTERVAL.key, format!("{interval_ms} ms"))
    }

    /// Records of a source, with the timestamps and watermarks of a strategy.
    #[track_caller]
    pub fn from_source<S: Source>(
        &self,
        source: S,
        strategy: WatermarkStrategy<S::Out>,
        name: &'static str,
    ) -> DataStream<S::Out> {
        self.source(source, strategy, name, Origin::caller(), false)
    }

    fn source<S: Source>(
        &self,
        source: S,
        strategy: WatermarkStrategy<S::Out>,
        name: &'static str,
        origin: Origin,
        non_parallel: bool,
    ) -> DataStream<S::Out> {
        let bounded = source.boundedness() == Boundedness::Bounded;
        let reads = source.reads().iter().map(ToString::to_string).collect();
        let source = Arc::new(source);
        let watermark_group = strategy.alignment().map(|alignment| alignment.group.clone());
        let register: RegisterOperator =
            Box::new(move |program, key| program.source(key, Arc::clone(&source), strategy.clone()));
        let node = NewNode::new::<S::Out>(name, origin, register);
        let node = NewNode {
            kind: NodeKind::Source { bounded },
            stateful: false,
            non_parallel,
            watermark_group,
            reads,
            ..node
        };
        let id = self.builder.add(node, Vec::new());
        DataStream::of_node(self.builder.clone(), id)
    }

    /// Given records.
    #[track_caller]
    pub fn from_collection<T: Data + Sync>(&self, records: impl IntoIterator<Item = T>) -> DataStream<T> {
        let source = CollectionSource::new(same_everywhere(|| records.into_iter().collect::<Vec<T>>()));
        self.source(source, WatermarkStrategy::no_watermarks(), "collection", Origin::caller(), false)
    }

    /// The numbers `from..=to`.
    #[track_caller]
    pub fn generate_sequence(&self, from: i64, to: i64) -> DataStream<i64> {
        let source = SequenceSource::new(from, to);
        self.source(source, WatermarkStrategy::no_watermarks(), "sequence", Origin::caller(), false)
    }

    /// `make(n)` for `n` in `0..count`.
    #[track_caller]
    pub fn generate<T: Data>(
        &self,
        count: u64,
        make: impl Fn(u64) -> T + Send + Sync + 'static,
        strategy: WatermarkStrategy<T>,
    ) -> DataStream<T> {
        self.source(GeneratorSource::new(count, make), strategy, "generator", Origin::caller(), false)
    }

    /// The lines of a text file, or of all files below a folder; names that begin with `.` or `_` are left out. A line that
    /// is not UTF-8 fails the job with its place.
    ///
    /// # Errors
    /// [`ProgramError::Path`] if `path` is none.
    #[track_caller]
    pub fn read_text_file(&self, path: &str) -> Result<DataStream<String>, ProgramError> {
        let source = TextFileSource::new(vec![path.parse::<FsPath>()?], InvalidUtf8::Fail);
        Ok(self.source(source, WatermarkStrategy::no_watermarks(), "text files", Origin::caller(), false))
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
    ) -> Result<DataStream<String>, ProgramError> {
        let paths = paths.iter().map(|path| path.parse()).collect::<Result<Vec<FsPath>, _>>()?;
        let source = TextFileSource::new(paths, on_invalid);
        Ok(self.source(source, WatermarkStrategy::no_watermarks(), "text files", Origin::caller(), false))
    }

    /// The lines that a server sends.
    #[track_caller]
    pub fn socket_text_stream(&self, host: &str, port: u16) -> DataStream<String> {
        let source = SocketTextSource::new(format!("{host}:{port}"));
        self.source(source, WatermarkStrategy::no_watermarks(), "socket", Origin::caller(), true)
    }

    /// A value that is the same in every process of a job: `make` is called where the program is planned, and its value handed to the
    /// workers, which call `main` again. For all that `main` reads from outside: the clock, files, random numbers.
    ///
    /// # Errors
    /// [`ProgramError::Record`] if `name` was used before, or if `main` goes another way in a worker than when it was planned.
    ///
    /// ```
    /// # use flott_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new()?;
    /// let seed: u64 = env.once("seed", || std::process::id().into())?;
    /// # let _ = seed;
    /// # Ok::<_, flott_datastream::ProgramError>(())
    /// ```
    pub fn once<T: Data>(&self, name: &str, make: impl FnOnce() -> T) -> Result<T, ProgramError> {
        Ok(recorded(&format!("once/{name}"), make)?)
    }

    /// Plans what was said since the last time, without running it.
    ///
    /// # Errors
    /// [`ProgramError::Plan`] that names the operator and the line that made it.
    pub fn plan(&self, name: &str) -> Result<(JobGraph, Program), ProgramError> {
        let (graph, program) = self.builder.take(name);
        Ok((graph.to_job_graph()?, program))
    }

    /// Runs what was said since the last time, to its end.
    ///
    /// # Errors
    /// [`ProgramError`]: what is wrong with the plan, or what failed.
    pub fn execute(&self, name: &str) -> Result<JobExecutionResult, ProgramError> {
        self.execute_from(name, None)
    }

    /// Like [`execute`](Self::execute), from a checkpoint: its folder or its metadata file.
    ///
    /// # Errors
    /// [`ProgramError`]; also if the checkpoint cannot be read or is of another program.
    pub fn execute_from(
        &self,
        name: &str,
        checkpoint: Option<&str>,
    ) -> Result<JobExecutionResult, ProgramError> {
        let (graph, program) = self.plan(name)?;
        let restore = match checkpoint {
            Some(path) => Some(read_checkpoint(&path.parse()?)?),
            None => None,
        };
        let result = execute_job(graph, program, &self.configuration(), restore)?;
        Ok(JobExecutionResult { result })
    }
}
