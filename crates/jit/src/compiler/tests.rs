//! Memory of compiled code: never writable and executable, bounded, given back.

use super::*;
use stackvm_riscv::RamPage;
use stackvm_riscv::native::SLOTS;

const SMALL: Limits = Limits { code_bytes: 64 << 10, pages: 2, ..Limits::DEFAULT };

fn compile(compiler: &mut X86, table: *mut EntryTable) -> Result<Compiled, Full> {
    // addi a0, a0, 1; ecall
    let mut page = [0; 4096];
    page[..8].copy_from_slice(&[0x13, 0x05, 0x15, 0, 0x73, 0, 0, 0]);
    compiler.compile(&Source {
        number: RamPage(0),
        page: &page,
        behind: None,
        offset: 0,
        ran: &[0; SLOTS],
        // SAFETY: the compiler's table, of which nobody else knows.
        entries: unsafe { &*table },
    })
}

#[test]
fn no_mapping_is_writable_and_executable() {
    let mut compiler = X86::new(SMALL).unwrap();
    let table = compiler.new_entries().unwrap();
    let entry = compile(&mut compiler, table).unwrap().entries[0].1;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut executable = 0;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        assert!(!rest.starts_with("rwx"), "{line}");
        let (from, to) = range.split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        if (number(from)..number(to)).contains(&entry) {
            assert!(rest.starts_with("r-xs"), "{line}");
            executable += 1;
        }
    }
    assert_eq!(executable, 1, "{entry:#x} in\n{maps}");
}

#[test]
fn what_is_full_is_emptied() {
    let mut compiler = X86::new(SMALL).unwrap();
    for _ in 0..3 {
        let tables: Vec<_> = (0..3).map(|_| compiler.new_entries()).collect();
        assert!(tables[0].is_ok() && tables[1].is_ok());
        assert_eq!(tables[2], Err(Full));
        let table = tables[0].unwrap();
        let first = compile(&mut compiler, table).unwrap();
        let mut count = 1;
        while compile(&mut compiler, table).is_ok() {
            count += 1;
            assert!(count < 10_000, "it must be full some time");
        }
        assert!(count > 100, "{count} regions");
        compiler.clear();
        let table = compiler.new_entries().unwrap();
        assert_eq!(compile(&mut compiler, table).unwrap(), first, "as at first");
        compiler.clear();
    }
}

#[test]
fn a_host_without_memory_for_it_is_an_error() {
    let problem = crate::compiler(Limits { code_bytes: 0, ..SMALL }).err().unwrap();
    assert!(problem.contains("no memory for compiled code"), "{problem}");
}
