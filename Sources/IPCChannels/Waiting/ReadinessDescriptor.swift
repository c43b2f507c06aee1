import CIPCShims
public import IPC
public import SystemPackage

/// The readiness of channels as a plain descriptor, for a foreign event loop: SwiftNIO, Dispatch, libuv, `poll`.
///
/// ```swift
/// let wakeUp = try ReadinessDescriptor()
/// var quotes = try Topic<UInt64>.openOrCreate("market/quotes").makeSubscription()
/// func whenReadable() throws {      // called by the loop when `wakeUp.descriptor` is readable, and once at first
///     wakeUp.clear()
///     repeat {
///         while let quote = try quotes.tryReceive() { print(quote) }
///     } while try !quotes.readiness().arm(wakeUp)
/// }
/// ```
///
/// One descriptor serves any number of channels of its root. It is a FIFO in the root and is removed with the last reference to it;
/// after that nothing makes it readable. Safe from any thread.
public final class ReadinessDescriptor: Sendable {
    let pipe: WakeUpPipe

    /// Makes a FIFO in a root.
    ///
    /// - Parameter root: The root of the channels to wait for.
    public init(in root: ChannelRoot = .current) throws(IPCError) {
        pipe = try root.withLock { (folder) throws(IPCError) in try WakeUpPipe(lockedIn: folder) }
    }

    deinit {
        if !pipe.isInherited { ChannelWaits.shared.disarm(pipe, nil) }
    }

    /// Readable once an armed participant has something to do. Borrowed: do not close it, and do not read from it if ``clear()`` is
    /// used.
    public var descriptor: FileDescriptor { pipe.descriptor }

    /// Clears what made it readable.
    public func clear() {
        guard !pipe.isInherited else { return }
        ChannelWaits.shared.disarm(pipe, pipe.takeSignals())
    }
}
