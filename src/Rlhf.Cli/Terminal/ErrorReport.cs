using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Rlhf.Generation;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers.Chat;
using Rlhf.Training;

namespace Rlhf.Cli.Terminal;

/// <summary>What the process tells its caller.</summary>
internal static class ExitCode
{
    public const int Success = 0, Failure = 1, Usage = 2, Interrupted = 130;
}

/// <summary>Says in one sentence what went wrong.</summary>
internal static class ErrorReport
{
    /// <summary>Writes the error and gives the exit code that belongs to it.</summary>
    /// <param name="error">What went wrong.</param>
    /// <param name="debug">Show where.</param>
    /// <param name="inTheUsersWords">Turns the library's names of settings into flags.</param>
    public static int Write(Exception error, bool debug, Func<string, string> inTheUsersWords)
    {
        if (error is AggregateException { InnerExceptions: [var only] })
            error = only;
        if (error is OperationCanceledException)
            return ExitCode.Interrupted;
        bool expected = error is ConfigurationException or ArgumentException or InvalidDataException or IOException
            or UnauthorizedAccessException or ChatTemplateException
            or TrainingDivergedException or RewardException or PlatformNotSupportedException or NotSupportedException
                or NonFiniteLogitsException;
        string report = debug ? $"rlhf: {Clean(error.ToString())}"
            : IsOutOfMemory(error) ? $"rlhf: There is not enough memory: {FirstLine(Message(error))} Lower the batch size or the length of "
                + "the rows, or take a smaller model."
            : expected ? $"rlhf: {inTheUsersWords(Message(error))}"
            : $"rlhf: unexpected error ({error.GetType().Name}): {FirstLine(Message(error))} "
                + "Run again with --debug to see where it happened.";
        Console.Error.WriteLine(Console.IsErrorRedirected ? report : Wrapped(report, TerminalWidth()));
        return error is ConfigurationException or ArgumentException ? ExitCode.Usage : ExitCode.Failure;
    }

    private static int TerminalWidth()
    {
        try
        {
            return Console.WindowWidth;
        }
        catch (IOException)
        {
            return 0; // a terminal that does not tell
        }
    }

    /// <summary>The text broken between words, so that a flag or path in it can be read and copied; a word longer than a line stays whole.</summary>
    internal static string Wrapped(string text, int width)
    {
        if (width < 20)
            return text;
        return string.Join('\n', text.Split('\n').Select(line =>
        {
            var wrapped = new System.Text.StringBuilder();
            int used = 0;
            foreach (string word in line.Split(' '))
            {
                if (used > 0 && used + 1 + word.Length > width)
                {
                    wrapped.Append('\n');
                    used = 0;
                }
                else if (wrapped.Length > 0)
                {
                    wrapped.Append(' ');
                    used++;
                }
                wrapped.Append(word);
                used += word.Length;
            }
            return wrapped.ToString();
        }));
    }

    /// <summary>libtorch's allocators say so in words alone.</summary>
    private static bool IsOutOfMemory(Exception error) => error is OutOfMemoryException || error is ExternalException
        && (error.Message.Contains("can't allocate memory", StringComparison.Ordinal)
            || error.Message.Contains("out of memory", StringComparison.OrdinalIgnoreCase));

    private static string Message(Exception error)
    {
        string message = error is ArgumentException ? Regex.Replace(error.Message, @" \(Parameter '[^']*'\)", "") : error.Message;
        return Clean(message);
    }

    /// <summary>Lines that a terminal can show: messages may quote what a file holds.</summary>
    private static string Clean(string text) => string.Join('\n', text.Split('\n').Select(Screen.Clean));

    private static string FirstLine(string text)
    {
        string line = text.Split('\n')[0].Trim();
        return line.EndsWith('.') ? line : line + ".";
    }
}
