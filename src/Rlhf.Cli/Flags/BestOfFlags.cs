using System.ComponentModel;
using Rlhf.Cli.Settings;

namespace Rlhf.Cli.Flags;

/// <summary>What answers, how often, and where the best go.</summary>
internal sealed record BestOfFlags
{
    [Description("Language model that answers: a folder or one of the Hub; default: the small review model that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Model { get; init; }

    [Description("Prompts: one per line, or JSONL, CSV or parquet with a column prompt (a text or messages) or query.")]
    [ValueName("PATH")]
    [DataInput(OfTheHub = false)]
    public string? Prompts { get; init; }

    [Description("Split of the prompts that has to be answered, where there are several; default: train.")]
    [ValueName("NAME")]
    public string? Split { get; init; }

    [Description("Chat template for prompts that are messages: a file with Jinja, or chatml, the built-in one; default: the model's own.")]
    [ValueName("FILE|chatml")]
    [ChatTemplateInput]
    public string? ChatTemplate { get; init; }

    [Description("Answers to each prompt.")]
    public int Answers { get; init; } = 8;

    [Description("Answers that are sampled and scored together.")]
    public int BatchSize { get; init; } = 64;

    [Description("Answer at most this many prompts, drawn at random.")]
    public int? MaxPrompts { get; init; }

    [Description("Keep a best answer only from this reward on; default: all.")]
    public double? MinReward { get; init; }

    [Description("Write the best answers as JSON lines for rlhf sft: prompt and completion, or messages.")]
    [ValueName("FILE")]
    public string? Save { get; init; }

    [Description("Seed of the answers and of the choice of prompts.")]
    public long Seed { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Answers < 2) yield return $"Answers is {Answers}; it must be at least 2, or there is nothing to choose from.";
        if (BatchSize < 1) yield return $"BatchSize is {BatchSize}; it must be at least 1.";
        if (MaxPrompts < 1) yield return $"MaxPrompts is {MaxPrompts}; it must be at least 1, or left out.";
        if (MinReward is not null && Save is null) yield return "MinReward chooses what --save writes, which is not given; name a file.";
    }
}
