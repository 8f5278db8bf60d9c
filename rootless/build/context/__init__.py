"""Where the files of a build come from: a directory, an archive, a URL, a git repository."""
