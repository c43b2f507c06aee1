import Glibc
import IPC

// The membership lock: held to join, to leave, to recover and to remove.
extension ChannelMemory {
    /// Takes the membership lock. Blocks until its holder releases it, which takes microseconds.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut`` if a process was stopped while it held the lock.
    func lockMembership(until deadline: Deadline = ByteLock.patience) throws(IPCError) {
        let path = folder.map { "\($0.path)/\(name.folder)/locks" } ?? name.description
        try ByteLock.wait(name.description, descriptor, path, until: deadline) { () throws(IPCError) in
            try tryLockMembership()
        }
    }

    /// - Returns: False if another process or thread holds it.
    func tryLockMembership() throws(IPCError) -> Bool {
        // The byte's lock belongs to the descriptor, and so to all threads that use it. Among those the flag excludes.
        guard isMembershipLocked.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
            return false
        }
        do throws(IPCError) {
            if try ByteLock.tryTake(descriptor, LogLayout.LockByte.membership, name.description) { return true }
        } catch {
            isMembershipLocked.store(false, ordering: .releasing)
            throw error
        }
        isMembershipLocked.store(false, ordering: .releasing)
        return false
    }

    func unlockMembership() {
        ByteLock.release(descriptor, LogLayout.LockByte.membership)
        isMembershipLocked.store(false, ordering: .releasing)
    }
}
