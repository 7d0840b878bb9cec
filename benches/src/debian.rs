//! What people run in `debian`: a compiler, interpreters, a package. Beside QEMU, with the same disk.
//!
//! The work is typed at the login shell of the first virtio terminal, and timed as the kernels are:
//! by marker lines, in the host's CPU time.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use stackvm_images::{Image, ImageStore, machine_config};
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Input, Machine, Output, Stop};

use crate::child::{Run, System, Times};
use crate::table::median;

/// What the shell prints when it takes commands.
const PROMPT: &str = "root@debian";
/// Each piece of work: its name, what is typed before it is timed, and what is; that prints a line
/// that must be the same everywhere.
const WORK: [(&str, &str, &str); 5] = [
    (
        "gcc",
        "perl -e 'for $i (1..250) { print \"int f$i(int a, int b) {\\n  int s = $i;\\n  for (int i \
         = 0; i < a; i++) {\\n    if (i % 3 == b)\\n      s += i * b;\\n    else\\n      s ^= i << \
         (b & 7);\\n  }\\n  return s;\\n}\\n\" }' > big.c",
        "gcc -O2 -c big.c -o big.o && wc -c < big.o",
    ),
    ("python", ":", "python3 -c 'print(sum(i * i % 7 for i in range(1000000)))'"),
    ("perl", ":", "perl -e '$s += $_ * $_ % 7 for 1..1500000; print \"$s\\n\"'"),
    ("bash", ":", "s=0; for ((i = 0; i < 150000; i++)); do ((s += i * i % 7)); done; echo $s"),
    (
        "dpkg",
        "mkdir -p p/DEBIAN p/opt && printf 'Package: p\\nVersion: 1\\nArchitecture: \
         all\\nMaintainer: p\\nDescription: p\\n' > p/DEBIAN/control && cp big.c \
         p/opt/ && dpkg-deb --build p p.deb > /dev/null",
        "dpkg -i p.deb > /dev/null && dpkg-query -f '${Version}\\n' -W p",
    ),
];

/// Runs and prints the table.
pub(crate) fn print(data_dir: &Path, runs: usize) -> Result<()> {
    let image =
        ImageStore::open(data_dir)?.get("debian").context("`stackvm image build debian`")?;
    let systems = [System::stackvm(), System::qemu()?];
    let mut times: BTreeMap<(usize, &str), Vec<Times>> = BTreeMap::new();
    let mut sums: BTreeMap<&str, String> = BTreeMap::new();
    for run in 0..runs {
        for (index, system) in systems.iter().enumerate() {
            eprintln!("run {} of {runs}: {}", run + 1, system.name);
            let done: Run = system.run_debian(&image, data_dir, PROMPT, &script())?;
            times.entry((index, "boot to its prompt")).or_default().push(done.prompt);
            for (name, ..) in WORK {
                let took = done.kernels.get(name).with_context(|| format!("{name} did not run"))?;
                times.entry((index, name)).or_default().push(*took);
                let sum = &done.checksums[name];
                let first = sums.entry(name).or_insert_with(|| sum.clone());
                assert_eq!(first, sum, "{name} prints something else under {}", system.name);
            }
        }
    }
    let [ours, theirs] = &systems;
    println!("| in `debian` | {} s | {} s | ratio |\n|---|---|---|---|", ours.name, theirs.name);
    for name in std::iter::once("boot to its prompt").chain(WORK.map(|(name, ..)| name)) {
        let cpu = |index| median(times[&(index, name)].iter().map(|t: &Times| t.cpu_s).collect());
        let (a, b) = (cpu(0), cpu(1));
        println!("| {name} | {a:.2} | {b:.2} | {:.2} |", b / a);
    }
    println!();
    Ok(())
}

/// What is typed at the prompt, line by line.
fn script() -> String {
    let mut script = String::new();
    for (name, before, work) in WORK {
        script += &format!("{before}; printf '\\n@begin %s\\n' {name}\n");
        script += &format!("R=$({work}); printf '\\n@end %s %s\\n' {name} $R\n");
    }
    script + "printf '\\n@begin %s\\n@end %s 0\\n' all all\n"
}

/// The child side: runs the image as fast as it goes, and types `script` at the prompt.
pub(crate) fn run_machine(mut args: impl Iterator<Item = String>) -> Result<()> {
    let data_dir = args.next().context("a data directory")?;
    let mut script = Some(args.next().context("what to type")?);
    let image = ImageStore::open(Path::new(&data_dir))?.get("debian")?;
    let mut machine = Machine::new(&machine_config(&image)?)?;
    let console = ConsoleId::Hvc(0);
    let (mut stdout, mut tail) = (std::io::stdout().lock(), String::new());
    let mut left = Vec::new();
    loop {
        let stop = machine.run(machine.now() + Ticks::from_ns(1_000_000));
        for output in machine.take_outputs() {
            let Output::Console { console: from, bytes } = output else { continue };
            if from == console {
                stdout.write_all(&bytes)?;
                stdout.flush()?;
                tail.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        if tail.contains(PROMPT)
            && let Some(script) = script.take()
        {
            left = script.into_bytes();
        }
        let room = machine.console_room_bytes(console).min(left.len());
        if room > 0 {
            let bytes = left.drain(..room).collect();
            machine.input(Input::Console { console, bytes });
        }
        match stop {
            Stop::Until | Stop::Outputs => {}
            other => bail!("the machine stopped: {other:?}"),
        }
    }
}

/// Arguments for QEMU to boot the image from its disk, to which nothing is written.
pub(crate) fn qemu_args(image: &Image) -> Result<Vec<String>> {
    let disk = image.disk.as_ref().context("debian has no disk")?;
    let initrd = image.initrd.as_ref().context("debian has no initrd")?;
    let drive = format!("file={},format=raw,if=none,id=vda,snapshot=on", disk.display());
    let memory = format!("{}M", image.memory_bytes >> 20);
    let args = [
        ["-m", &memory],
        ["-drive", &drive],
        ["-device", "virtio-blk-device,drive=vda"],
        ["-kernel", &image.kernel.display().to_string()],
        ["-initrd", &initrd.display().to_string()],
        ["-append", &image.append],
    ];
    Ok(args.as_flattened().iter().map(|arg| (*arg).to_owned()).collect())
}
