import Glibc
import SystemPackage

/// Starts a thread of the library's own, with all signals blocked: they are for the program's threads. Nobody waits for it.
///
/// - Returns: Why there is none; nil if it runs.
func startQuietThread(_ body: @escaping @Sendable () -> Void) -> Errno? {
    final class Start: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var every = sigset_t()
    unsafe sigfillset(&every)
    var before = sigset_t()
    unsafe pthread_sigmask(SIG_SETMASK, &every, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    var thread = pthread_t()
    let start = unsafe Unmanaged.passRetained(Start(body))
    let result = unsafe pthread_create(
        &thread, nil,
        { argument in
            unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, start.toOpaque())
    guard result == 0 else {
        unsafe start.release()
        return Errno(rawValue: result)
    }
    pthread_detach(thread)
    return nil
}
