namespace Rlhf.Tests.Cli;

/// <summary>Models too large for any machine: config.json alone, and no weights.</summary>
public sealed class MemoryCommandTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    [Fact]
    public void SeventyBillionParametersAreRefusedBeforeAnythingIsLoaded()
    {
        Model("big", 8192, 86);
        File.WriteAllText(Path.Combine(folder.Path, "pairs.jsonl"), """{"prompt":"a","chosen":"b","rejected":"c"}""");
        File.WriteAllText(Path.Combine(folder.Path, "texts.csv"), "text\nA film.\n");
        foreach (var command in (string[][])[["ppo", "--model", "big", "--reward-model", "big", "--dataset", "texts.csv"],
            ["sft", "--model", "big", "--dataset", "texts.csv"],
            ["dpo", "--model", "big", "--pairs", "pairs.jsonl", "--eval-fraction", "0"],
            ["kto", "--model", "big", "--pairs", "pairs.jsonl", "--eval-fraction", "0"],
            ["reward", "--model", "big", "--pairs", "pairs.jsonl", "--eval-fraction", "0"],
            ["generate", "--model", "big", "Hello"], ["evaluate", "--model", "big", "--dataset", "texts.csv"]])
        {
            var result = RlhfCommand.Run(folder.Path, [.. command, "--device", "cpu"]);
            Assert.Equal((2, ""), (result.ExitCode, result.Output));
            Assert.Matches(@"^rlhf: .* needs about [\d,]+\.\d GB of memory, and [\d,]+\.\d GB are free ", result.Error);
            Assert.Contains(" × 4 bytes ", result.Error);
            Assert.Contains("smaller model. --ignore-memory tries all the same.", result.Error);
            if (command[0] is "ppo" or "sft")
                Assert.Matches("--(mini-)?batch-size", result.Error);
        }
        // Who knows better gets as far as the files that are not there.
        var tried = RlhfCommand.Run(folder.Path, "generate", "--model", "big", "Hello", "--ignore-memory");
        Assert.DoesNotContain("of memory", tried.Error);
        Assert.NotEqual(0, tried.ExitCode);
    }

    [Fact]
    public void EncodersCannotRecomputeTheirActivations()
    {
        File.WriteAllText(Path.Combine(Directory.CreateDirectory(Path.Combine(folder.Path, "encoder")).FullName, "config.json"), """{"model_type":"distilbert"}""");
        File.WriteAllText(Path.Combine(folder.Path, "pairs.jsonl"), """{"prompt":"a","chosen":"b","rejected":"c"}""");
        var result = RlhfCommand.Run(folder.Path, "reward", "--model", "encoder", "--pairs", "pairs.jsonl", "--eval-fraction", "0", "--recompute-activations");
        Assert.Equal((2, "rlhf: --recompute-activations is for decoders, and encoder is an encoder; leave it out.\n"), (result.ExitCode, result.Error.ReplaceLineEndings("\n")));
    }

    public void Dispose() => folder.Dispose();

    private void Model(string name, int width, int layers) => File.WriteAllText(
        Path.Combine(Directory.CreateDirectory(Path.Combine(folder.Path, name)).FullName, "config.json"),
        $$"""{"model_type":"gpt2","vocab_size":32000,"n_positions":4096,"n_embd":{{width}},"n_head":64,"n_layer":{{layers}},"id2label":{"0":"REWARD"},"pad_token_id":0}""");
}
