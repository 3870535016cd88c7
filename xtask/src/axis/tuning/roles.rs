//! What profiles name: roles of threads, and CPUs.

use anyhow::{Context as _, bail};
use evenkeel_agent::step::Role;
use evenkeel_agent::threads;

use super::unsupported;
use crate::matrix::nearest;

/// Roles of systems under test, as profiles name them.
const ROLES: [Role; 3] = [Role::Server, Role::Vcpu, Role::Emulator];

/// Values by role: `vcpu=1 emulator=0`.
pub(super) fn by_role<T>(
    want: &str,
    value: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<(Role, T)>> {
    let names = ROLES.map(|role| role.to_string());
    let mut given: Vec<(Role, T)> = Vec::new();
    for word in want.split_whitespace() {
        let Some((name, text)) = word.split_once('=') else {
            bail!("`{word}` is no ROLE=VALUE: the roles are {}", names.join(", "));
        };
        if let Some((_, reason)) = unsupported::NO_ROLES.iter().find(|(known, _)| *known == name) {
            bail!("role `{name}` is not supported: {reason}");
        }
        let Some(at) = names.iter().position(|known| known == name) else {
            let near = nearest(name, names.iter().map(String::as_str));
            let hint = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
            bail!("there is no role `{name}`{hint}");
        };
        if given.iter().any(|(role, _)| *role == ROLES[at]) {
            bail!("role `{name}` is given twice");
        }
        given.push((ROLES[at], value(text).with_context(|| format!("`{word}`"))?));
    }
    if given.is_empty() {
        bail!("`{want}` names no role");
    }
    Ok(given)
}

/// CPUs that a profile names; with `online`, each must be one of those.
pub(super) fn cpus_named(list: &str, online: Option<&[usize]>) -> anyhow::Result<Vec<usize>> {
    let cpus = threads::parse_list(list)?;
    if cpus.is_empty() {
        bail!("`{list}` names no CPU");
    }
    if let Some(online) = online
        && let Some(missing) = cpus.iter().find(|cpu| !online.contains(cpu))
    {
        bail!("there is no CPU {missing}: the CPUs are {}", threads::list(online));
    }
    Ok(cpus)
}
