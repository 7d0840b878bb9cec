//! Medians and the printed tables.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::child::{Run, System, Times};
use crate::guest::KERNELS;

/// What was measured, by system.
#[derive(Default)]
pub(crate) struct Table {
    kernels: BTreeMap<(String, String), Vec<Times>>,
    checksums: BTreeMap<String, String>,
    retired: BTreeMap<String, u64>,
    compiled: Option<String>,
    boots: BTreeMap<String, Vec<Times>>,
    peaks: BTreeMap<String, Vec<f64>>,
    native: BTreeMap<String, Vec<f64>>,
}

impl Table {
    /// Adds a run of the kernels. Their checksums must be the same everywhere.
    pub(crate) fn kernels(&mut self, system: &System, run: &Run) {
        for (name, times) in &run.kernels {
            self.kernels.entry((system.name.clone(), name.clone())).or_default().push(*times);
            let sum = &run.checksums[name];
            let first = self.checksums.entry(name.clone()).or_insert_with(|| sum.clone());
            assert_eq!(first, sum, "{name} computes something else under {}", system.name);
        }
        self.retired.extend(run.retired.clone());
        self.compiled = run.compiled.clone().or(self.compiled.take());
    }

    /// Adds a run to the prompt.
    pub(crate) fn boot(&mut self, system: &System, run: &Run) {
        self.boots.entry(system.name.clone()).or_default().push(run.total);
        self.peaks.entry(system.name.clone()).or_default().push(run.peak_mib);
    }

    /// Adds a run of the host's own program of a kernel.
    pub(crate) fn native(&mut self, kernel: &str, cpu_s: f64) {
        self.native.entry(kernel.to_owned()).or_default().push(cpu_s);
    }

    /// Prints the kernels' times with their ratios and the geometric mean.
    pub(crate) fn print_kernels(&self, ours: &System, theirs: &System) -> Result<()> {
        println!(
            "| kernel | G insns | {} s | MIPS | {} s | ratio | native s |",
            ours.name, theirs.name
        );
        println!("|---|---|---|---|---|---|---|");
        let mut product = 1.0;
        for kernel in KERNELS {
            let cpu = |system: &System| {
                let runs = self.kernels.get(&(system.name.clone(), kernel.to_owned()));
                median(runs.into_iter().flatten().map(|t| t.cpu_s).collect())
            };
            let (a, b) = (cpu(ours), cpu(theirs));
            ensure!(a > 0.0 && b > 0.0, "{kernel} was not measured");
            let insns = self.retired.get(kernel).copied().unwrap_or(0) as f64;
            let mips = insns / a / 1e6;
            // Children of a program are not in its own time.
            let native = match kernel {
                "forkexec" | "pipe" => "–".to_owned(),
                _ => format!("{:.3}", median(self.native.get(kernel).cloned().unwrap_or_default())),
            };
            println!(
                "| {kernel} | {:.2} | {a:.3} | {mips:.0} | {b:.3} | {:.2} | {native} |",
                insns / 1e9,
                b / a
            );
            product *= b / a;
        }
        println!(
            "\ngeometric mean of the ratios: {:.2}\n",
            product.powf(1.0 / KERNELS.len() as f64)
        );
        if let Some(compiled) = &self.compiled {
            println!("compiling, in one run of all of them: {compiled}\n");
        }
        Ok(())
    }

    /// Prints the times to the prompt.
    pub(crate) fn print_boot(&self, ours: &System, theirs: &System) {
        println!("| boot of tiny to its prompt | CPU s | wall s | peak MiB |\n|---|---|---|---|");
        for system in [ours, theirs] {
            let runs = self.boots.get(&system.name).map_or(&[][..], Vec::as_slice);
            let cpu = median(runs.iter().map(|t| t.cpu_s).collect());
            let wall = median(runs.iter().map(|t| t.wall_s).collect());
            let peak = median(self.peaks.get(&system.name).cloned().unwrap_or_default());
            println!("| {} | {cpu:.2} | {wall:.2} | {peak:.0} |", system.name);
        }
        println!();
    }
}

/// The middle value, 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
