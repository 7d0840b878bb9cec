//! The files that a sandboxed process may open: landlock.

use std::error::Error;
use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope,
};

use super::{Plan, SandboxError};

/// What the kernel must be able to refuse: older ones let any file be truncated, or none be moved
/// to another folder.
const NEEDED: ABI = ABI::V3;
/// What it refuses besides where it can; the table of system calls refuses these as well.
const WELCOME: ABI = ABI::V6;
/// Where output goes that nobody wants.
const NULL: &str = "/dev/null";

/// Restricts this thread, and those it makes, to the plan's paths.
pub(super) fn restrict(plan: &Plan) -> Result<(), SandboxError> {
    let mut rules = begin().map_err(|error| unusable(&error))?;
    let own = plan.own.iter().map(|path| (path.as_path(), everything()));
    let emptied = plan.emptied.iter().map(|path| (path.as_path(), emptying()));
    let written = plan.written.iter().map(|path| (path.as_path(), writing()));
    let tidy = plan.tidy.iter().map(|path| (path.as_path(), AccessFs::RemoveDir.into()));
    let read = plan.read.iter().map(|path| (path.as_path(), reading(path)));
    let null = (Path::new(NULL), writing());
    for (path, access) in own.chain(emptied).chain(written).chain(tidy).chain([null]) {
        let added = add(rules, path, access)?;
        rules = added.map_err(|error| SandboxError::Path { path: path.to_owned(), error })?;
    }
    for (path, access) in read.filter(|(path, _)| path.exists()) {
        let added = add(rules, path, access)?;
        rules = added.map_err(|error| SandboxError::Path { path: path.to_owned(), error })?;
    }
    let status = rules.restrict_self().map_err(|error| unusable(&error))?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(SandboxError::Landlock("it is switched off".into())),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// Rules under which nothing may be done.
fn begin() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(NEEDED))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WELCOME))?
        .handle_access(AccessNet::from_all(WELCOME))?
        .scope(Scope::from_all(WELCOME))?
        .create()
}

/// Adds a rule; the inner error is about the path.
fn add(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<io::Result<RulesetCreated>, SandboxError> {
    let file = match PathFd::new(path) {
        Err(PathFdError::OpenCall { source, .. }) => return Ok(Err(source)),
        result => result.map_err(|error| unusable(&error))?,
    };
    let added = rules.add_rule(PathBeneath::new(file, access));
    added.map(Ok).map_err(|error| unusable(&error))
}

/// What may be done in a folder of the process's own: no programs are run from it, it holds no
/// devices, and no links that would lead whoever reads it elsewhere.
fn everything() -> BitFlags<AccessFs> {
    let never = AccessFs::Execute
        | AccessFs::MakeBlock
        | AccessFs::MakeChar
        | AccessFs::MakeFifo
        | AccessFs::MakeSym
        | AccessFs::IoctlDev;
    AccessFs::from_all(WELCOME) & !never
}

fn emptying() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::RemoveFile | AccessFs::RemoveDir
}

fn writing() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate
}

fn reading(path: &Path) -> BitFlags<AccessFs> {
    match path.is_dir() {
        true => AccessFs::ReadFile | AccessFs::ReadDir,
        false => AccessFs::ReadFile.into(),
    }
}

fn unusable(error: &dyn Error) -> SandboxError {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    SandboxError::Landlock(words)
}
