using Rlhf.Runtime;

namespace Rlhf.Fuzz;

/// <summary>What is fuzzed: one reader, with valid inputs to begin from.</summary>
/// <param name="Name">Names it on the command line, and its folders.</param>
/// <param name="Read">
/// Reads an input. It may refuse it by an exception of <paramref name="Refusals"/>; a wrong result is a
/// <see cref="WrongResultException"/>.
/// </param>
/// <param name="Seeds">Inputs to begin from.</param>
/// <param name="Tokens">Pieces of the format that mutations put in.</param>
/// <param name="Refusals">The exceptions that the reader's documentation lists.</param>
internal sealed record FuzzTarget(
    string Name, Action<byte[]> Read, IReadOnlyList<byte[]> Seeds, IReadOnlyList<byte[]> Tokens, params Type[] Refusals)
{
    /// <summary>The name under which targets show inputs to readers: a refusal must name the file.</summary>
    public const string FileName = "the-file";

    /// <summary>Bytes allocated so far; the fuzzer, alone in its process, counts those of all threads.</summary>
    public static Func<long> Allocated { get; set; } = GC.GetAllocatedBytesForCurrentThread;

    /// <summary>Longest input.</summary>
    public int MaxLength { get; init; } = 4096;

    /// <summary>Longest message of a refusal.</summary>
    public int MaxMessage { get; init; } = 1500;

    /// <summary>More bytes allocated for one input are a finding.</summary>
    public long MaxAllocated { get; init; } = 256 << 20;

    /// <summary>Reads an input; null when it was read or properly refused, otherwise what is wrong.</summary>
    public Exception? Try(byte[] input)
    {
        long before = Allocated();
        try
        {
            Read(input);
        }
        catch (Exception e) when (Refusals.Any(type => type.IsInstanceOfType(e)))
        {
            if (Flaw(e.Message) is { } flaw)
                return new WrongResultException($"a refusal {flaw}: {e.Message}", e);
        }
        catch (Exception e)
        {
            return e;
        }
        long allocated = Allocated() - before;
        return allocated > MaxAllocated
            ? new WrongResultException($"{allocated >> 20} MiB were allocated for {input.Length} bytes") : null;
    }

    /// <summary>
    /// Messages reach terminals and logs: they name the file, are short, and carry nothing that a terminal obeys. Several
    /// problems of a configuration stand on a line each.
    /// </summary>
    private string? Flaw(string message) =>
        !message.Contains(FileName, StringComparison.Ordinal) ? "does not name the file"
        : message.Length > MaxMessage ? $"has {message.Length} characters"
        : message.Any(c => char.IsControl(c) && !(c == '\n' && Refusals.Contains(typeof(ConfigurationException))))
            ? "holds control characters" : null;
}

/// <summary>A reader gave a result that cannot be.</summary>
internal sealed class WrongResultException(string message, Exception? inner = null) : Exception(message, inner)
{
    public static void Unless(bool holds, string otherwise)
    {
        if (!holds)
            throw new WrongResultException(otherwise);
    }
}
