// Mutants of files and names: what is synced when a file is made, and what an operation reports.

const POSIX = 'native/io/posix_file_system.cc'

export const FILE_MUTANTS = [
  {
    name: 'no-directory-sync',
    defence: 'a new name is synced before anything in the file counts',
    danger: 'a power cut takes the name of a segment with acknowledged records',
    file: 'native/log/segment_file.cc',
    find: 'status = fs.sync_directory(spec.directory);',
    replace: 'status = {};',
    by: 'simulator',
  },
  {
    name: 'start-of-a-life-not-synced',
    defence: 'a life’s start group is durable before anything else of it',
    danger: 'acknowledged records in a segment without a beginning',
    file: 'native/log/segment_file.cc',
    find: 'if (status.ok()) status = file->sync();',
    replace: '',
    by: 'simulator',
  },
  {
    name: 'ancestors-not-synced',
    defence: 'every directory that was made is synced in its parent',
    danger: 'a power cut takes the directory with the whole log',
    file: 'native/io/file.cc',
    find: 'Status status = fs.sync_directory(parent_of(at));',
    replace: 'Status status;',
    by: "a power cut takes the new directory's name",
  },
  {
    name: 'short-write-ignored',
    defence: 'a short write is a failure',
    danger: 'half a group is acknowledged',
    file: POSIX,
    find: 'if (static_cast<size_t>(written) != total) {',
    replace: 'if (false && static_cast<size_t>(written) != total) {',
    by: 'fail-stop: a short write of the kernel is an error',
  },
  {
    name: 'refused-dsync-forgotten',
    defence: 'where the kernel refuses RWF_DSYNC an fdatasync takes its place',
    danger: 'in a sandbox nothing is ever flushed',
    file: POSIX,
    find: 'return sync_after ? sync() : Status{};',
    replace: 'return Status{};',
    by: 'RWF_DSYNC refused by the kernel or a sandbox',
  },
  {
    name: 'lock-not-asked-for',
    defence: 'one process writes',
    danger: 'two processes write into one log',
    file: POSIX,
    find: 'if (::fcntl(fd, F_OFD_SETLK, &range) == 0) return 0;',
    replace: 'if (::fcntl(fd, F_OFD_SETLK, &range) <= 0) return 0;',
    by: 'two processes open the log',
  },
  {
    name: 'lock-of-the-process',
    defence: 'the lock belongs to the open file',
    danger: 'any close of the lock’s file in the process drops the lock',
    file: POSIX,
    find: 'if (::fcntl(fd, F_OFD_SETLK, &range) == 0) return 0;',
    replace: 'if (::fcntl(fd, F_SETLK, &range) == 0) return 0;',
    by: 'the lock dropped because some code closed another descriptor of the file',
  },
]
