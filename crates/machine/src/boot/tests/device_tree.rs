//! The device tree, read back by a reader that knows nothing of the writer.

use std::collections::BTreeMap;

use crate::boot::BoardDescription;
use crate::boot::fdt::{Chosen, build};

/// Properties by node path.
pub(super) type Tree = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Reads a flattened device tree (Devicetree spec 0.4 §5); names of siblings keep no order here.
pub(super) fn parse(blob: &[u8]) -> Tree {
    nodes(blob).into_iter().collect()
}

/// The nodes in the order of the blob.
fn nodes(blob: &[u8]) -> Vec<(String, BTreeMap<String, Vec<u8>>)> {
    let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((word(0), word(20), word(24)), (0xd00d_feed, 17, 16), "magic and versions");
    let text = |at: usize| {
        let end = blob[at..].iter().position(|byte| *byte == 0).unwrap() + at;
        std::str::from_utf8(&blob[at..end]).unwrap().to_owned()
    };
    let (mut at, names) = (word(8), word(12));
    let (mut path, mut nodes, mut open) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let token = word(at);
        at += 4;
        match token {
            1 => {
                let name = text(at);
                at += (name.len() + 1).next_multiple_of(4);
                path.push(name);
                let full = if path.len() == 1 { "/".to_owned() } else { path.join("/") };
                open.push(nodes.len());
                nodes.push((full, BTreeMap::new()));
            }
            2 => {
                path.pop().unwrap();
                open.pop().unwrap();
            }
            3 => {
                let (len, name) = (word(at), text(names + word(at + 4)));
                let value = blob[at + 8..at + 8 + len].to_vec();
                at += 8 + len.next_multiple_of(4);
                let node: usize = *open.last().unwrap();
                assert!(nodes[node].1.insert(name, value).is_none(), "a property comes once");
            }
            9 => return nodes,
            _ => panic!("token {token} at {at:#x}"),
        }
    }
}

fn board() -> BoardDescription {
    BoardDescription { harts: 2, ram_bytes: 256 << 20, sv48: false, virtio_slots: vec![0, 3, 8] }
}

fn chosen() -> Chosen<'static> {
    Chosen { bootargs: "console=ttyS0", initrd: Some(0x8400_0000..0x8500_0001), seed: 1 }
}

fn cells(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn text(values: &[&str]) -> Vec<u8> {
    values.iter().flat_map(|value| [value.as_bytes(), b"\0"].concat()).collect()
}

#[test]
fn the_tree_has_the_shape_of_the_virt_board() {
    let tree = parse(&build(&board(), &chosen()));
    let check = |path: &str, name: &str, expected: Vec<u8>| {
        let node = tree.get(path).unwrap_or_else(|| panic!("no node {path}"));
        let value = node.get(name).unwrap_or_else(|| panic!("{path} has no {name}"));
        assert_eq!(*value, expected, "{path} {name}");
    };
    check("/", "compatible", text(&["riscv-virtio"]));
    check("/chosen", "bootargs", text(&["console=ttyS0"]));
    check("/chosen", "stdout-path", text(&["/soc/serial@10000000"]));
    check("/chosen", "linux,initrd-start", cells(&[0, 0x8400_0000]));
    check("/chosen", "linux,initrd-end", cells(&[0, 0x8500_0001]));
    check("/memory@80000000", "reg", cells(&[0, 0x8000_0000, 0, 0x1000_0000]));
    check("/cpus", "timebase-frequency", cells(&[10_000_000]));
    let isa = "rv64imafdc_zicbom_zicboz_zicntr_zicsr_zifencei_zba_zbb_zbs_sstc_svadu";
    check("/cpus/cpu@0", "riscv,isa", text(&[isa]));
    check("/cpus/cpu@1", "riscv,isa-base", text(&["rv64i"]));
    let extensions = [
        "i", "m", "a", "f", "d", "c", "zicbom", "zicboz", "zicntr", "zicsr", "zifencei", "zba",
        "zbb", "zbs", "sstc", "svadu",
    ];
    check("/cpus/cpu@1", "riscv,isa-extensions", text(&extensions));
    check("/cpus/cpu@1", "reg", cells(&[1]));
    check("/cpus/cpu@0", "mmu-type", text(&["riscv,sv39"]));
    check("/cpus/cpu@0", "riscv,cboz-block-size", cells(&[64]));
    check("/soc/serial@10000000", "compatible", text(&["ns16550a"]));
    check("/soc/serial@10000000", "interrupts", cells(&[10]));
    check("/soc/rtc@101000", "interrupts", cells(&[11]));
    check("/soc/vmgenid@102000", "compatible", text(&["microsoft,vmgenid"]));
    check("/soc/vmgenid@102000", "reg", cells(&[0, 0x10_2000, 0, 0x1000]));
    check("/soc/vmgenid@102000", "interrupts", cells(&[12]));
    check("/soc/plic@c000000", "riscv,ndev", cells(&[95]));
    check("/soc/plic@c000000", "#interrupt-cells", cells(&[1]));
    check("/soc/plic@c000000", "reg", cells(&[0, 0xc00_0000, 0, 0x60_0000]));
    check("/soc/virtio_mmio@10004000", "interrupts", cells(&[4]));
    check("/soc/virtio_mmio@10009000", "interrupts", cells(&[64]));
    check("/soc/virtio_mmio@10009000", "reg", cells(&[0, 0x1000_9000, 0, 0x1000]));
    check("/poweroff", "value", cells(&[0x5555]));
    check("/reboot", "value", cells(&[0x7777]));
    let [test, plic] = ["/soc/test@100000", "/soc/plic@c000000"].map(|path| &tree[path]["phandle"]);
    check("/poweroff", "regmap", test.clone());
    check("/soc/rtc@101000", "interrupt-parent", plic.clone());
}

/// Every reference from one node to another, followed.
#[test]
fn interrupts_lead_to_the_right_harts() {
    let tree = parse(&build(&board(), &chosen()));
    let phandle = |path: &str| tree[path]["phandle"].clone();
    let wires = |causes: [u32; 2]| -> Vec<u8> {
        let harts = ["/cpus/cpu@0", "/cpus/cpu@1"];
        let wire = |hart: &str, cause| {
            [phandle(&format!("{hart}/interrupt-controller")), cells(&[cause])].concat()
        };
        harts.into_iter().flat_map(|hart| causes.map(|cause| wire(hart, cause)).concat()).collect()
    };
    assert_eq!(tree["/soc/plic@c000000"]["interrupts-extended"], wires([11, 9]));
    assert_eq!(tree["/soc/clint@2000000"]["interrupts-extended"], wires([3, 7]));
    assert_eq!(tree["/cpus/cpu-map/cluster0/core1"]["cpu"], phandle("/cpus/cpu@1"));
    let all: Vec<_> = tree.values().filter_map(|node| node.get("phandle")).collect();
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "every phandle names one node");
}

#[test]
fn occupied_slots_are_listed_in_ascending_order() {
    let every = BoardDescription { virtio_slots: (0..32).collect(), ..board() };
    let check = |board: &BoardDescription, expected: &[&str]| {
        let nodes = nodes(&build(board, &chosen()));
        let slots = nodes.iter().filter_map(|(path, _)| path.strip_prefix("/soc/virtio_mmio@"));
        assert_eq!(slots.collect::<Vec<_>>(), expected);
    };
    check(&board(), &["10001000", "10004000", "10009000"]);
    check(&BoardDescription { virtio_slots: vec![], ..board() }, &[]);
    let all: Vec<String> =
        (1..=32).map(|slot| format!("{:x}", 0x1000_0000 + 0x1000 * slot)).collect();
    check(&every, &all.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn the_tree_follows_its_inputs_and_nothing_else() {
    let seed = |seed| parse(&build(&board(), &Chosen { seed, ..chosen() }))["/chosen"].clone();
    assert_eq!(build(&board(), &chosen()), build(&board(), &chosen()));
    assert_eq!(seed(1)["rng-seed"].len(), 32);
    assert_ne!(seed(1)["rng-seed"], seed(2)["rng-seed"]);
    let bare = Chosen { bootargs: "", initrd: None, seed: 1 };
    let tree = parse(&build(&board(), &bare));
    assert!(!tree["/chosen"].contains_key("bootargs"));
    assert!(!tree["/chosen"].contains_key("linux,initrd-start"));
    let sv48 = BoardDescription { sv48: true, ..board() };
    let tree = parse(&build(&sv48, &chosen()));
    assert_eq!(tree["/cpus/cpu@0"]["mmu-type"], text(&["riscv,sv48"]));
}
