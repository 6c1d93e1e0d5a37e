//! Flott on YARN: submission, and the ApplicationMaster in one process with the JobManager.
