namespace Rlhf.Tokenizers.Pipeline.Normalizers;

/// <summary>Changes text before it is split.</summary>
internal abstract class Normalizer
{
    /// <summary>The changed text. A text that continues another one gets nothing put before it.</summary>
    public abstract string Normalize(string text, bool continues);
}

/// <summary>Several, one after the other.</summary>
internal sealed class SequenceNormalizer(IReadOnlyList<Normalizer> steps) : Normalizer
{
    public override string Normalize(string text, bool continues)
    {
        int length = text.Length;
        foreach (var step in steps)
        {
            text = step.Normalize(text, continues);
            Growth.Check(length, text.Length);
        }
        return text;
    }
}

/// <summary>A function of the text alone.</summary>
internal sealed class TextNormalizer(Func<string, string> change) : Normalizer
{
    public override string Normalize(string text, bool continues) => change(text);
}

/// <summary>Puts a text before every text that is not empty (Llama 2's first space).</summary>
internal sealed class PrependNormalizer(string prefix) : Normalizer
{
    public override string Normalize(string text, bool continues) => text.Length == 0 || continues ? text : prefix + text;
}
