#if NATS
    import IPCBridge
#else
    import Glibc
    import SystemPackage

    let advice = "ipc-bridge was built without NATS: build it with swift build -c release --traits NATS.\n"
    _ = try? FileDescriptor.standardError.writeAll(advice.utf8)
    exit(1)
#endif
