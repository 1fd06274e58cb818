namespace Rlhf.LlamaCpp;

/// <summary>What llama.cpp is asked about a GGUF file.</summary>
/// <param name="Model">The file.</param>
public sealed record LlamaQuestions(string Model)
{
    /// <summary>An adapter's file to put on it.</summary>
    public string? Adapter { get; init; }

    /// <summary>Tokens that the context holds; null is as many as the model's file says.</summary>
    public uint? ContextSize { get; init; }

    /// <summary>Texts to tokenize, special tokens in them recognized.</summary>
    public string[] Texts { get; init; } = [];

    /// <summary>Add begin and end tokens as the file says.</summary>
    public bool AddSpecial { get; init; } = true;

    /// <summary>Rows of ids: logits of each position.</summary>
    public int[][] Rows { get; init; } = [];

    /// <summary>Rows of ids: as many most likely tokens behind each of them.</summary>
    public int[][] Prompts { get; init; } = [];

    public int NewTokens { get; init; }
}

/// <summary>What it answers.</summary>
public sealed record LlamaAnswers
{
    /// <summary>Why the native library cannot be loaded here; null when it can.</summary>
    public string? Unavailable { get; init; }

    public IReadOnlyDictionary<string, string> Metadata { get; init; } = new Dictionary<string, string>();

    public string? Template { get; init; }

    public int ContextSize { get; init; }

    public int?[] SpecialTokens { get; init; } = [];

    public int[][] Tokens { get; init; } = [];

    /// <summary>Per row, per position, logits of all ids.</summary>
    public float[][][] Logits { get; init; } = [];

    public int[][] Continuations { get; init; } = [];
}
