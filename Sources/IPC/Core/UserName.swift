import Glibc

/// Names of users and groups, for people.
package enum UserName {
    /// Such as `alice`; the number if it has no name.
    package static func of(_ user: uid_t) -> String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: roomForEntry) { buffer in
            var entry = unsafe passwd()
            var found: UnsafeMutablePointer<passwd>?
            guard let base = buffer.baseAddress,
                unsafe getpwuid_r(user, &entry, base, buffer.count, &found) == 0,
                let name = unsafe found?.pointee.pw_name
            else { return "\(user)" }
            return unsafe String(cString: name)
        }
    }

    /// Such as `staff`; the number if it has no name.
    package static func ofGroup(_ group: gid_t) -> String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: roomForEntry) { buffer in
            var entry = unsafe Glibc.group()
            var found: UnsafeMutablePointer<Glibc.group>?
            guard let base = buffer.baseAddress,
                unsafe getgrgid_r(group, &entry, base, buffer.count, &found) == 0,
                let name = unsafe found?.pointee.gr_name
            else { return "\(group)" }
            return unsafe String(cString: name)
        }
    }

    /// A group's members lie there too. One that is larger is told by its number.
    private static let roomForEntry = 65_536
}
