# Every hart comes here: a stack of its own, then main(hart, fdt).
    .section .text.start
    .globl _start
_start:
    la sp, stacks
    addi t0, a0, 1
    slli t0, t0, 14
    add sp, sp, t0
    call main
1:  wfi
    j 1b

# A hart started through SBI HSM: a0 is the hart, a1 what was given to it.
    .globl second_start
    .weak second_main
second_start:
    la sp, stacks
    addi t0, a0, 1
    slli t0, t0, 14
    add sp, sp, t0
    call second_main
1:  wfi
    j 1b

    .bss
    .balign 16
stacks:
    .space 4 << 14
