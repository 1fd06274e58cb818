namespace Rlhf.Tests.Cli;

/// <summary>The models that ship are known by name, wherever the command runs.</summary>
public sealed class ShippedModelTests : IDisposable
{
    private readonly string elsewhere = Directory.CreateTempSubdirectory("rlhf-shipped-").FullName;

    public void Dispose() => Directory.Delete(elsewhere, recursive: true);

    [Theory]
    [InlineData("imdb-gpt2-tiny")]
    [InlineData("models/imdb-gpt2-tiny")]
    public void A_shipped_model_is_found_by_name(string name)
    {
        var result = RlhfCommand.Succeed(elsewhere, "generate", "--model", name, "--threads", "1", "This movie is");
        Assert.Contains("This movie is", result.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("no-such-model")]
    [InlineData("..")]
    [InlineData("queries.jsonl")]
    public void Any_other_name_is_no_model(string name)
    {
        var result = RlhfCommand.Run(elsewhere, "generate", "--model", name, "This movie is");
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains($"--model {name}", result.Error, StringComparison.Ordinal);
    }
}
