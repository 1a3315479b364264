# Calls one function of the interpreter from the middle of whatever its main thread was doing, and
# goes on there as if nothing had happened: general registers, flags and the vector state are kept.
# It needs nobody's help to end, so that the death of who set it here changes nothing.
#
# `as` makes trampoline_x86_64.bin of it (see tests/edges/attach/test_trampoline.py). Whoever uses
# it appends the slots in their order here, each of 8 bytes, and enters at `begin`.
        .intel_syntax noprefix
        .text
begin:
        lea     rsp, [rsp - 128]        # the red zone of the function that was interrupted
        pushfq
        push    rax
        push    rcx
        push    rdx
        push    rbx
        push    rbp
        push    rsi
        push    rdi
        push    r8
        push    r9
        push    r10
        push    r11
        push    r12
        push    r13
        push    r14
        push    r15
        push    qword ptr [rip + nonce]
        mov     rbx, rsp                # every function keeps this register: the frame
        cld
        and     rsp, -64
        sub     rsp, 4096               # what xsave writes of these components ends below 2800
        lea     rdi, [rsp + 512]        # its header has to be zero
        xor     eax, eax
        mov     ecx, 8
        rep stosq
        mov     eax, 0xe7               # x87, SSE, AVX, AVX-512; the callee has no tiles
        xor     edx, edx
        xsave64 [rsp]
        mov     rdi, [rip + first]
        mov     rsi, [rip + second]
        xor     eax, eax
        call    qword ptr [rip + callee]
        mov     rcx, [rip + nonce]
        inc     rcx                     # done
        test    eax, eax
        jz      accepted
        inc     rcx                     # done, and refused
accepted:
        mov     [rbx], rcx
leave:                                  # with the frame in rbx, from wherever the callee hangs
        mov     rsp, rbx
        and     rsp, -64
        sub     rsp, 4096
        mov     eax, 0xe7
        xor     edx, edx
        xrstor64 [rsp]
        mov     rsp, rbx
        lea     rsp, [rsp + 8]
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        pop     rdi
        pop     rsi
        pop     rbp
        pop     rbx
        pop     rdx
        pop     rcx
        pop     rax
        popfq
        lea     rsp, [rsp + 128]
        jmp     qword ptr [rip + return]
        .balign 8
callee: # the slots begin here
        .set    first, callee + 8
        .set    second, callee + 16
        .set    nonce, callee + 24
        .set    return, callee + 32
