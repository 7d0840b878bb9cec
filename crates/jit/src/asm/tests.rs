//! Encodings, read back by a disassembler.

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter};

use super::*;
use Reg::*;
use Width::{W32, W64};

fn check(write: impl FnOnce(&mut Asm), expected: &str) {
    let mut asm = Asm::new(0x1000);
    write(&mut asm);
    let code = asm.finish();
    let mut formatter = GasFormatter::new();
    let mut text = Vec::new();
    for instruction in &mut Decoder::with_ip(64, &code, 0x1000, DecoderOptions::NONE) {
        let mut line = String::new();
        formatter.format(&instruction, &mut line);
        text.push(line);
    }
    assert_eq!(text.join("; "), expected, "{code:02x?}");
}

#[test]
fn operands() {
    check(|a| a.mov(W64, Rax, Mem::at(Rbp, 0)), "mov (%rbp),%rax");
    check(|a| a.mov(W64, R8, Mem::at(Rsp, 0)), "mov (%rsp),%r8");
    check(|a| a.mov(W32, Rcx, Mem::at(R12, 127)), "mov 0x7F(%r12),%ecx");
    check(|a| a.mov(W64, Rdi, Mem::at(R13, -129)), "mov -0x81(%r13),%rdi");
    check(|a| a.mov(W64, R9, Mem::indexed(R15, Rcx, 0, 8)), "mov 8(%r15,%rcx),%r9");
    check(|a| a.lea(W64, R13, Mem::indexed(R13, R12, 3, 0)), "lea (%r13,%r12,8),%r13");
    check(|a| a.mov(W32, R15, Rax), "mov %eax,%r15d");
}

#[test]
fn moves() {
    check(|a| a.store(1, Mem::at(Rax, 0), Rsi), "mov %sil,(%rax)");
    check(|a| a.store(2, Mem::at(Rax, 0), R11), "mov %r11w,(%rax)");
    check(|a| a.store(4, Mem::at(Rax, 1024), Rdx), "mov %edx,0x400(%rax)");
    check(|a| a.store(8, Mem::at(R8, 0), R9), "mov %r9,(%r8)");
    check(|a| a.load(Extend::S8, Rbx, Rsi), "movsbq %sil,%rbx");
    check(|a| a.load(Extend::Z8, R10, Mem::at(Rcx, 0)), "movzbl (%rcx),%r10d");
    check(|a| a.load(Extend::S32, Rax, Rax), "movslq %eax,%rax");
    check(|a| a.load(Extend::Z16, Rax, Mem::at(Rcx, 2)), "movzwl 2(%rcx),%eax");
    check(|a| a.mov_imm(R9, 0), "xor %r9d,%r9d");
    check(|a| a.mov_imm(R9, 5), "mov $5,%r9d");
    check(|a| a.mov_imm(Rax, u64::MAX), "mov $0xFFFFFFFFFFFFFFFF,%rax");
    check(|a| a.mov_imm(R14, 1 << 40), "movabs $0x10000000000,%r14");
    check(|a| a.store_imm(Mem::at(Rbp, -8), -1), "movq $0xFFFFFFFFFFFFFFFF,-8(%rbp)");
    check(|a| a.store_imm32(Mem::at(Rbp, 4), -1), "movl $0xFFFFFFFF,4(%rbp)");
}

#[test]
fn arithmetic() {
    check(|a| a.alu(Alu::Sub, W32, R8, Rdi), "sub %edi,%r8d");
    check(|a| a.alu(Alu::Cmp, W64, Rdx, Mem::at(R15, 0)), "cmp (%r15),%rdx");
    check(|a| a.alu_imm(Alu::And, W64, Rax, -2), "and $0xFFFFFFFFFFFFFFFE,%rax");
    check(|a| a.alu_imm(Alu::Add, W64, Mem::at(Rbp, 8), 300), "addq $0x12C,8(%rbp)");
    check(|a| a.test(W64, R11), "test %r11,%r11");
    check(|a| a.test_imm(Mem::at(Rbp, 0), 1), "testl $1,(%rbp)");
    check(|a| a.shift_imm(Shift::Sar, W64, R12, 63), "sar $0x3F,%r12");
    check(|a| a.shift_cl(Shift::Shl, W32, Rax), "shl %cl,%eax");
    check(|a| a.rorx(Rcx, R12, 8), "rorx $8,%r12d,%ecx");
    check(|a| a.rorx(Rcx, Rax, 8), "rorx $8,%eax,%ecx");
    check(|a| a.imul(W64, R10, Rbx), "imul %rbx,%r10");
    check(|a| a.wide(Wide::Idiv, W32, Rcx), "idiv %ecx");
    check(|a| a.sign_rdx(W64), "cqto");
    check(|a| a.sign_rdx(W32), "cltd");
    check(|a| a.set(Cond::Below, Rax), "setb %al; movzbl %al,%eax");
    check(|a| a.add_at(0x2000, 5), "addq $5,0x2000");
}

#[test]
fn floats() {
    check(|a| a.scalar(0xf2, 0x58, Xmm(0), Mem::at(Rbp, 4096)), "addsd 0x1000(%rbp),%xmm0");
    check(|a| a.scalar(0xf3, 0x10, Xmm(2), Mem::at(Rbp, 0)), "movss (%rbp),%xmm2");
    check(|a| a.scalar_store(0xf2, 0x11, Mem::at(Rbp, 0), Xmm(0)), "movsd %xmm0,(%rbp)");
    check(|a| a.scalar_wide(0x66, W64, 0x7e, 0, Rm::Reg(Rcx)), "movq %xmm0,%rcx");
    check(|a| a.scalar_wide(0xf2, W64, 0x2a, 0, Rm::Reg(R9)), "cvtsi2sd %r9,%xmm0");
}

#[test]
fn jumps() {
    check(
        |a| {
            let (back, there) = (a.label(), a.label());
            a.place(back);
            a.jump_if(Cond::Above, there);
            a.jump(back);
            a.place(there);
            a.call_to(0x1000);
        },
        "ja 0x000000000000100B; jmp 0x0000000000001000; call 0x0000000000001000",
    );
    check(|a| a.jump_through(0x3000), "jmpq *0x3000");
    check(|a| a.jump_rm(Mem::indexed(Rcx, Rax, 2, 0)), "jmpq *(%rcx,%rax,4)");
    check(|a| a.push(R12), "push %r12");
    check(|a| a.pop(Rbx), "pop %rbx");
}
