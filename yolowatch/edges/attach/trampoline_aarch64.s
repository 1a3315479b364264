// Calls one function of the interpreter from the middle of whatever its main thread was doing.
// What was interrupted is in a signal frame, which whoever sets this has written to the stack at
// sp: the kernel restores all of it at once, as after a signal. So it needs nobody's help to end.
//
// `as` makes trampoline_aarch64.bin of it. At entry: x0 and x1 the arguments, x19 the callee, x20
// the address of the mark, x21 the mark; every function keeps the latter three, and x22.
        .text
begin:
        mov     x22, sp
        blr     x19
        add     x21, x21, #1            // done
        cmp     w0, #0
        cinc    x21, x21, ne            // done, and refused
        str     x21, [x20]
leave:                                  // with the signal frame in x22
        mov     sp, x22
        mov     x8, #139                // rt_sigreturn
        svc     #0
