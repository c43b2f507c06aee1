// CRC-32C, the Castagnoli polynomial 0x1EDC6F41 reflected, as in iSCSI (RFC 3720) and ext4.
#include "CIPCShims.h"

#include <string.h>

static uint32_t by_table(uint32_t crc, const unsigned char *bytes, size_t count) {
    static uint32_t table[256];  // filled more than once at worst, with the same
    static _Atomic int is_filled;
    if (!is_filled) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t value = byte;
            for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0x82f63b78 : 0);
            table[byte] = value;
        }
        is_filled = 1;
    }
    while (count--) crc = crc >> 8 ^ table[(crc ^ *bytes++) & 0xff];
    return crc;
}

#if defined(__x86_64__)
#define HAS_INSTRUCTION __builtin_cpu_supports("sse4.2")
#define TARGET __attribute__((target("sse4.2")))
#define WORD_STEP(crc, word) ((uint32_t)__builtin_ia32_crc32di(crc, word))
#define BYTE_STEP(crc, byte) __builtin_ia32_crc32qi(crc, byte)
#elif defined(__aarch64__)
#include <sys/auxv.h>
#define HAS_INSTRUCTION (getauxval(AT_HWCAP) >> 7 & 1)  // HWCAP_CRC32
#define TARGET __attribute__((target("crc")))
#define WORD_STEP(crc, word) __builtin_arm_crc32cd(crc, word)
#define BYTE_STEP(crc, byte) __builtin_arm_crc32cb(crc, byte)
#endif

#ifdef HAS_INSTRUCTION
TARGET static uint32_t by_instruction(uint32_t crc, const unsigned char *bytes, size_t count) {
    for (; count >= 8; count -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = WORD_STEP(crc, word);
    }
    while (count--) crc = BYTE_STEP(crc, *bytes++);
    return crc;
}
#endif

uint32_t ipc_crc32c(uint32_t crc, const void *bytes, size_t count) {
#ifdef HAS_INSTRUCTION
    if (HAS_INSTRUCTION) return ~by_instruction(~crc, bytes, count);
#endif
    return ~by_table(~crc, bytes, count);
}

uint32_t ipc_crc32c_by_table(uint32_t crc, const void *bytes, size_t count) { return ~by_table(~crc, bytes, count); }
