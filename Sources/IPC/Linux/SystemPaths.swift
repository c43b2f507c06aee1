import SystemPackage

/// Where Linux shows what other systems have calls for, or show elsewhere.
enum SystemPaths {
    /// Where the C library keeps shared memory objects and named semaphores.
    static var sharedMemory: FilePath { "/dev/shm" }

    /// The file of a named semaphore.
    ///
    /// - Parameter name: With its slash.
    static func semaphore(_ name: String) -> String { "/dev/shm/sem." + name.dropFirst() }

    /// What a descriptor is of, as a path.
    static func descriptor(_ raw: CInt) -> FilePath { FilePath("/proc/self/fd/\(raw)") }
}
