namespace Rlhf.Tokenizers.Pipeline;

/// <summary>A bound on what replacements may make of a text: a few rules that double it, one after the other, would fill any memory.</summary>
internal static class Growth
{
    private const int Factor = 16;

    /// <summary>Refuses a text that has grown out of all proportion.</summary>
    /// <param name="before">Characters that there were.</param>
    /// <param name="after">Characters that there are.</param>
    /// <param name="always">So many are always allowed.</param>
    /// <exception cref="PipelineLimitException">It has.</exception>
    public static void Check(long before, long after, int always = 1 << 16)
    {
        if (after > always + Factor * before)
            throw new PipelineLimitException($"normalizer or decoder make {after:N0} characters of {before:N0}; "
                + "remove the replacements that repeat text.");
    }
}
