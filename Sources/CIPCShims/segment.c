// System V shared memory, which Swift's Glibc module does not have.

#define _GNU_SOURCE
#include "CIPCShims.h"

#include <errno.h>
#include <sys/ipc.h>
#include <sys/shm.h>

int ipc_segment_make(size_t size) { return shmget(IPC_PRIVATE, size, IPC_CREAT | IPC_EXCL | 0600); }

int ipc_segment_share(int segment, uid_t owner, gid_t group, mode_t mode, int64_t *changed) {
    struct shmid_ds status;
    if (shmctl(segment, IPC_STAT, &status) != 0) return -1;
    status.shm_perm.uid = owner;
    status.shm_perm.gid = group;
    status.shm_perm.mode = (unsigned short)mode;
    if (shmctl(segment, IPC_SET, &status) != 0 || shmctl(segment, IPC_STAT, &status) != 0) return -1;
    *changed = status.shm_ctime;
    return 0;
}

int ipc_segment_remove(int segment) { return shmctl(segment, IPC_RMID, 0); }

void *ipc_segment_attach(int segment, size_t size, int64_t *changed) {
    void *address = shmat(segment, 0, 0);
    if (address == (void *)-1) return 0;
    // As long as it is attached, no other has its number.
    struct shmid_ds status;
    if (shmctl(segment, IPC_STAT, &status) == 0 && status.shm_segsz >= size) {
        *changed = status.shm_ctime;
        return address;
    }
    shmdt(address);
    errno = EINVAL;
    return 0;
}

int ipc_segment_detach(void *address) { return shmdt(address); }
