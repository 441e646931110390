//! A service, from its name to its `main`.
//!
//! # Why a builder, and not a trait
//!
//! What a service is comes in order: its name decides the defaults of its settings, the settings
//! make its job sink, and the job sink is what its stages execute. Each step's type is the next
//! one's input, so nothing can be left out or be given twice. What an executor can add (metrics,
//! checks, work beside the jobs) is a call of its [`Context`], so one that adds nothing writes
//! nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgMatches, Command as Program};
use jobstream::sinks::JobSink;
use jobstream::sinks::ledger;
use jobstream::topology::Topology;

use crate::cli::{self, Cli, Command, Title};
use crate::defaults::Defaults;
use crate::jobs::{self, Resolving, ServiceJob};
use crate::operations::{OperationError, print, shown};
use crate::run::ServiceError;
use crate::settings::{
    ReadFile, ServiceSettings, Settings, SettingsError, Variables, rows, tables,
};
use crate::{
    BuildInfo, Context, Executor, Failure, Stages, Topics, check, dead_letters, environment, fail,
    healthcheck, manual, parked, run, submit,
};

/// A service: what it is called, what it reads of settings, what executes its jobs, its stages.
///
/// Built from the first to the last, it has a [`main`](Service::main): the commands `run`, `check`,
/// `submit`, `dead-letters`, `parked`, `healthcheck`, `settings`, `completions` and `man`, and its
/// own.
#[must_use = "it does nothing before its main is called"]
pub struct Service<S = (), X = (), T = ()> {
    defaults: Defaults,
    build: BuildInfo,
    about: &'static str,
    commands: Vec<OwnCommand>,
    settings: PhantomData<fn() -> S>,
    executor: X,
    topology: T,
}

/// A command of the service's own.
struct OwnCommand {
    program: Program,
    run: fn(&ArgMatches) -> Result<(), Failure>,
}

/// Makes the job sink.
type MakeSink<S, In, Out> =
    Box<dyn Fn(&S, &mut Context) -> Result<Arc<dyn JobSink<In, Out>>, Failure> + Send + Sync>;

/// Makes the topology.
type MakeTopology<S, In, Out> =
    Box<dyn Fn(&S, Stages, Executor<In, Out>) -> Topology + Send + Sync>;

impl Service {
    /// A service of that name, which is its program's, too. It takes jobs from the topic
    /// `topic-job-run`, and has no settings of its own.
    pub fn new(name: &'static str, build: BuildInfo) -> Self {
        Self {
            defaults: Defaults::new(name),
            build,
            about: "Executes jobs",
            commands: Vec::new(),
            settings: PhantomData,
            executor: (),
            topology: (),
        }
    }

    /// Reads these settings beside those of every service.
    pub fn settings<S: Settings>(self) -> Service<S> {
        self.next(|()| ((), ()))
    }
}

impl<S, X, T> Service<S, X, T> {
    /// What it does, in a sentence, for `--help`.
    pub const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// The defaults of its topics. Those of its consumer group and of its ledger's topic are
    /// `JOBS-consumer-NAME` and `JOBS-ledger-NAME`, unless they are set.
    pub fn topics(mut self, topics: Topics) -> Self {
        self.defaults.topics = topics;
        self
    }

    /// The default of its consumer group.
    pub fn group(mut self, group: &str) -> Self {
        self.defaults.set_group(group);
        self
    }

    /// Another service on the same topics, and its consumer group. In that group each would pass over
    /// jobs that are for the other one, so settings with it end the start.
    pub fn beside(mut self, service: &'static str, group: &'static str) -> Self {
        self.defaults.others.push((service, group));
        self
    }

    /// The default of its ledger's topic.
    pub fn ledger_topic(mut self, topic: &str) -> Self {
        self.defaults.set_ledger(topic);
        self
    }

    /// The variable with the port of metrics and health, instead of `METRICS_PORT`.
    pub const fn metrics_port(mut self, variable: &'static str) -> Self {
        self.defaults.metrics_port = variable;
        self
    }

    /// What its jobs are called in the log, instead of `NAME job`, and what they wait for while it
    /// is away, instead of `server`.
    pub fn words(mut self, job: &str, server: &'static str) -> Self {
        job.clone_into(&mut self.defaults.noun);
        self.defaults.server = server;
        self
    }

    /// Adds a command of its own, which is given what of the command line is its.
    pub fn command(
        mut self,
        program: Program,
        run: fn(&ArgMatches) -> Result<(), Failure>,
    ) -> Self {
        self.commands.push(OwnCommand { program, run });
        self
    }

    /// The next step, whose executor and topology are made of this one's executor.
    fn next<N, Y, U>(self, make: impl FnOnce(X) -> (Y, U)) -> Service<N, Y, U> {
        let Self { defaults, build, about, commands, executor, .. } = self;
        let (executor, topology) = make(executor);
        Service { defaults, build, about, commands, settings: PhantomData, executor, topology }
    }
}

impl<S: Settings> Service<S> {
    /// What executes the jobs: a job sink, made of the settings, with what belongs to it. It is made
    /// for `run`, and for `check`.
    pub fn executor<In, Out>(
        self,
        make: impl Fn(&S, &mut Context) -> Result<Arc<dyn JobSink<In, Out>>, Failure>
        + Send
        + Sync
        + 'static,
    ) -> Service<S, MakeSink<S, In, Out>> {
        let make: MakeSink<S, In, Out> = Box::new(make);
        self.next(|()| (make, ()))
    }
}

impl<S: Settings, X, T> Service<S, X, T> {
    /// The settings of every service, and its own, as they are read from this environment and these
    /// files.
    ///
    /// # Errors
    /// If one is wrong or missing, or a file can't be read.
    pub fn read_settings(
        &self,
        environment: &BTreeMap<String, String>,
        read: ReadFile<'_>,
    ) -> Result<(ServiceSettings, S), SettingsError> {
        ServiceSettings::read(&self.defaults, &Variables::read(environment, read)?)
    }

    /// The names that are looked for when the settings are read, in order: every setting there is,
    /// without the properties of Kafka that are not set.
    ///
    /// # Errors
    /// As those of [`read_settings`](Self::read_settings): nothing is looked for behind what ends
    /// it.
    pub fn setting_names(
        &self,
        environment: &BTreeMap<String, String>,
        read: ReadFile<'_>,
    ) -> Result<Vec<String>, SettingsError> {
        let variables = Variables::read(environment, read)?;
        ServiceSettings::read::<S>(&self.defaults, &variables)?;
        Ok(variables.asked())
    }

    /// The tables of all settings, its own first, in Markdown: what `settings --markdown` prints.
    pub fn settings_in_markdown(&self) -> String {
        tables::<S>(&self.defaults)
    }

    fn program(&self) -> Program {
        let tables = self.settings_in_markdown();
        let required = rows(&tables).filter(|[_, default, _]| *default == "required");
        let required: Vec<_> = required.map(|[name, ..]| name.replace('`', "")).collect();
        let title = Title {
            name: self.defaults.name,
            about: self.about,
            build: &self.build,
            required: &required.join(", "),
        };
        cli::program(title, self.commands.iter().map(|command| command.program.clone()))
    }
}

impl<S, In, Out> Service<S, MakeSink<S, In, Out>>
where
    S: Settings,
    In: ServiceJob,
    Out: Default + Send + 'static,
{
    /// The stages, in data order. They are the same with a ledger and without.
    ///
    /// `Out::default()` is what comes of a job that a person has settled as done: nothing was
    /// executed here.
    pub fn topology(
        self,
        make: impl Fn(Stages, Executor<In, Out>) -> Topology + Send + Sync + 'static,
    ) -> Service<S, MakeSink<S, In, Out>, MakeTopology<S, In, Out>> {
        self.topology_with(move |_, stages, executor| make(stages, executor))
    }

    /// The same for stages that depend on the service's own settings, as a
    /// [limit of a key](crate::Executes::limited_by) may.
    pub fn topology_with(
        self,
        make: impl Fn(&S, Stages, Executor<In, Out>) -> Topology + Send + Sync + 'static,
    ) -> Service<S, MakeSink<S, In, Out>, MakeTopology<S, In, Out>> {
        let make: MakeTopology<S, In, Out> = Box::new(make);
        self.next(|executor| (executor, make))
    }
}

impl<S, In, Out> Service<S, MakeSink<S, In, Out>, MakeTopology<S, In, Out>>
where
    S: Settings,
    In: ServiceJob,
    Out: Default + Send + 'static,
{
    /// Does what the command line says, and ends with its exit code: 0; 2 for wrong usage, a wrong
    /// setting or an unreadable file; 130 after a second signal; else 1.
    pub fn main(self) -> ExitCode {
        match self.execute() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => fail(self.defaults.name, failure.exit_code(), &failure),
        }
    }

    fn execute(&self) -> Result<(), Failure> {
        let matches = match self.program().try_get_matches() {
            Ok(matches) => matches,
            Err(error) if error.use_stderr() => error.exit(),
            Err(text) => return Ok(shown(text.print().map_err(OperationError::Output))?),
        };
        let asked = matches.subcommand();
        let own = asked.and_then(|(name, matches)| {
            let own = self.commands.iter().find(|own| own.program.get_name() == name);
            own.map(|own| (own.run, matches))
        });
        if let Some((run, matches)) = own {
            return run(matches);
        }
        let command = Cli::of(&matches).command;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::new)?;
        runtime.block_on(self.command_of_every_service(command))
    }

    async fn command_of_every_service(&self, command: Command) -> Result<(), Failure> {
        let defaults = &self.defaults;
        match command {
            Command::Run(args) => {
                let (settings, own) = self.settings_of_process()?;
                let make = |settings: &ServiceSettings, context: &mut Context, observer| {
                    self.make_topology((settings, &own), context, observer)
                };
                run::run((defaults, &self.build), settings, &args, &make).await?;
            }
            Command::Check => {
                let (settings, own) = self.settings_of_process()?;
                let executor = |context: &mut Context| {
                    (self.executor)(&own, context).map(drop).map_err(ServiceError::from)
                };
                check::run(&settings, executor).await?;
            }
            Command::Healthcheck => {
                let (settings, _) = self.settings_of_process()?;
                print(&healthcheck::run(&settings, defaults.metrics_port).await?)?;
            }
            Command::Submit(args) => print(&submit::run(defaults, &args).await?)?,
            Command::DeadLetters(command) => dead_letters::run(defaults, &command).await?,
            Command::Parked(command) => parked::run(defaults, &command).await?,
            Command::Settings(args) => {
                manual::settings(&self.settings_in_markdown(), &args)?;
            }
            Command::Completions(args) => {
                manual::completions(self.program(), &args)?;
            }
            Command::Man(args) => manual::man(self.program(), &args).map_err(Failure::usage)?,
        }
        Ok(())
    }

    fn settings_of_process(&self) -> Result<(ServiceSettings, S), SettingsError> {
        self.read_settings(&environment::variables(), &environment::read_file)
    }

    fn make_topology(
        &self,
        (settings, own): (&ServiceSettings, &S),
        context: &mut Context,
        observer: Arc<dyn ledger::Observer>,
    ) -> Result<Topology, Failure> {
        let sink = (self.executor)(own, context)?;
        let retry = settings.job.retry;
        let executor = match settings.job.ledger {
            None => Executor::Sink(Arc::new(Resolving::new(sink))),
            Some(limits) => {
                let clock = Arc::new(environment::now);
                let ledger = jobs::ledger(sink, clock, retry.ambiguous, limits);
                Executor::Ledger(Arc::new(ledger.with_observer(observer)))
            }
        };
        Ok((self.topology)(own, Stages::new(settings.topics.topics.clone(), retry), executor))
    }
}

impl<S, X, T> fmt::Debug for Service<S, X, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("defaults", &self.defaults)
            .field("build", &self.build)
            .finish_non_exhaustive()
    }
}
