using Rlhf.Tests;
using Rlhf.Tests.Cli;

namespace Rlhf.Studio.Tests;

/// <summary>
/// Small Qwens with random weights, made once: before/ and after/ with ChatML, which their weights alone tell apart; other/ like after/, with
/// a template of its own; bare/ like before/, without a template; narrow/ with a smaller vocabulary.
/// </summary>
public sealed class ToyChats : IDisposable
{
    /// <summary>The template of other/: the answer comes after "A:", and the token of ChatML ends it.</summary>
    public const string OtherTemplate = "{% for m in messages %}{{ 'S: ' if m.role == 'system' else 'Q: ' if m.role == 'user' else 'A: ' }}"
        + "{{ m.content }}{{ '<|im_end|>' if m.role == 'assistant' else '' }}\n{% endfor %}{% if add_generation_prompt %}A: {% endif %}";

    private readonly Fixtures.TemporaryFolder folder = new();

    public ToyChats()
    {
        File.WriteAllLines(PathOf("texts.txt"), Enumerable.Range(0, 60).Select(i => $"Hello there, friend, this is line {i} of the long text about {"abcdefgh"[i % 8]}."));
        foreach (string size in (string[])["300", "280"])
            RlhfCommand.Succeed(folder.Path, "tokenizer", "train", "--kind", "qwen2", "--dataset", "texts.txt", "--vocab-size", size, "--output", $"tokens-{size}");
        foreach (var (name, seed, size) in new[] { ("before", "1", "300"), ("after", "2", "300"), ("narrow", "3", "280") })
            RlhfCommand.Succeed(folder.Path, "init", "--model-type", "qwen2", "--tokenizer", $"tokens-{size}", "--layers", "1", "--hidden-size", "16",
                "--heads", "2", "--max-positions", "128", "--seed", seed, "--output", name);
        Copy("after", "other");
        File.WriteAllText(Path.Combine(PathOf("other"), "chat_template.jinja"), OtherTemplate);
        Copy("before", "bare");
        File.Delete(Path.Combine(PathOf("bare"), "chat_template.jinja"));
        string config = Path.Combine(PathOf("bare"), "tokenizer_config.json");
        var json = System.Text.Json.Nodes.JsonNode.Parse(File.ReadAllText(config))!.AsObject();
        json.Remove("chat_template");
        File.WriteAllText(config, json.ToJsonString());
    }

    public string PathOf(string name) => Path.Combine(folder.Path, name);

    /// <summary>A studio's settings that compare two of the models.</summary>
    public StudioOptions Options(string aligned = "after", string before = "before") => new()
    {
        RunsFolder = PathOf("no-runs"),
        Model = PathOf(aligned),
        BaseModel = PathOf(before),
    };

    public void Dispose() => folder.Dispose();

    private void Copy(string from, string to)
    {
        Directory.CreateDirectory(PathOf(to));
        foreach (string file in Directory.GetFiles(PathOf(from)))
            File.Copy(file, Path.Combine(PathOf(to), Path.GetFileName(file)));
    }
}

/// <summary>Tests that need the toy chat models, which are made once.</summary>
[CollectionDefinition("toy chats")]
public sealed class WithToyChats : ICollectionFixture<ToyChats>;
