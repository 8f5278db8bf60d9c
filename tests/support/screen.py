"""The little of a terminal that a redrawn display uses: what a person would see."""

import io


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


class Screen:
    """Rows of text; ``show`` obeys the sequences up (A), clear line (K) and clear below (J)."""

    def __init__(self):
        self.rows, self.at, self.column = [""], 0, 0

    def show(self, text):
        """Take what was written; the screen itself."""
        index = 0
        while index < len(text):
            if text.startswith("\x1b[", index):
                end = index + 2
                while not text[end].isalpha():
                    end += 1
                self._control(text[index + 2 : end], text[end])
                index = end + 1
                continue
            self._put(text[index])
            index += 1
        return self

    def _put(self, char):
        if char == "\n":
            self.at, self.column = self.at + 1, 0
            if self.at == len(self.rows):
                self.rows.append("")
        elif char == "\r":
            self.column = 0
        else:
            row = self.rows[self.at].ljust(self.column)
            self.rows[self.at] = row[: self.column] + char + row[self.column + 1 :]
            self.column += 1

    def _control(self, number, letter):
        if letter == "A":
            self.at -= int(number)
            assert self.at >= 0, "above the first row"
        elif letter == "J":
            del self.rows[self.at + 1 :]
            self.rows[self.at] = self.rows[self.at][: self.column]
        else:
            assert letter == "K", letter
            self.rows[self.at] = self.rows[self.at][: self.column]

    def text(self):
        """The rows that have something in them, each without blanks at its end."""
        return [row.rstrip() for row in self.rows if row.strip()]
