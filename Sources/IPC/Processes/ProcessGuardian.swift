import CIPCShims
import Glibc
import SystemPackage

/// A process that kills the process groups of children when this one has gone, by SIGKILL or a crash too.
///
/// `PR_SET_PDEATHSIG` is not enough: it ends the child, but not the child's children, and it is raised when the *thread* that
/// started the child ends, as threads of Swift's pool do. The guardian waits for the end of a pipe that only this process has
/// open. Each child writes its number there before it runs its program, so none is missed.
package final class ProcessGuardian: Sendable {
    private let pipe: OwnedDescriptor

    /// Starts it. It is a child of this process, with the same name in tables, that ends with it, or with this object.
    ///
    /// - Throws: ``IPCError/Code/limitReached`` without a free descriptor or process.
    package init() throws(IPCError) {
        var raw: CInt = -1
        _ = try systemCall { unsafe ipc_start_guardian(&raw) }.orThrow("start", "guardian of child processes")
        pipe = OwnedDescriptor(adopting: raw)
    }

    var descriptor: CInt { pipe.rawValue }

    /// Lets the group of this child live on. To be called before the child is waited for: afterwards, the number may be
    /// another's.
    package func forget(_ process: pid_t) {
        var entry = ipc_guarded(process: process, is_started: 0)
        let raw = pipe.rawValue
        // If the guardian was killed, nobody is left to be told.
        _ = BrokenPipeSilence.blockingTheSignal {
            retryingInterrupts { unsafe Glibc.write(raw, &entry, MemoryLayout<ipc_guarded>.size) }
        }
    }
}
