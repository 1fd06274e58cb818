using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Tests.Tokenizers.Chat;

/// <summary>The assistant's tokens against transformers' return_assistant_tokens_mask.</summary>
public class ChatTemplateMaskParityTests
{
    [Fact]
    public void Every_conversation_gives_the_ids_and_the_mask_that_transformers_gives()
    {
        var wrong = new List<string>();
        int count = 0;
        foreach (var (file, root) in ChatFixtures.With("template"))
            foreach (var test in root.GetProperty("cases").EnumerateArray())
                foreach (var (name, expected) in Tokenized(root, test.GetProperty("expected")))
                {
                    if (Tokenizer(name, root) is not { } tokenizer)
                        continue;
                    count++;
                    var chat = ChatTemplateParityTests.Template(root, test.GetProperty("template").GetString()!)
                        .Encode(tokenizer, ChatFixtures.Messages(test), ChatFixtures.Options(test, ChatFixtures.Now(root)));
                    int[] ids = [.. expected.GetProperty("input_ids").EnumerateArray().Select(x => x.GetInt32())];
                    int[] mask = [.. expected.GetProperty("assistant_masks").EnumerateArray().Select(x => x.GetInt32())];
                    if (!ids.SequenceEqual(chat.Ids) || !mask.SequenceEqual(chat.FromAssistant.Select(x => x ? 1 : 0)))
                        wrong.Add($"{file}, {name}, {test.GetProperty("template")}: {test.GetProperty("messages")}\n"
                            + $"{string.Join(" ", chat.Ids.Zip(chat.FromAssistant))}\nexpected {string.Join(" ", ids.Zip(mask))}");
                }
        Assert.SkipWhen(count == 0, "There are no cases with masks, or none of their tokenizers.");
        Assert.True(wrong.Count == 0, $"{wrong.Count} of {count}:\n{string.Join("\n\n", wrong.Take(5))}");
    }

    private static IEnumerable<(string Tokenizer, JsonElement Expected)> Tokenized(JsonElement root, JsonElement expected)
    {
        if (expected.TryGetProperty("assistant_masks", out _))
            yield return (root.GetProperty("tokenizer").GetString()!.Split('/')[^1], expected);
        if (expected.TryGetProperty("tokenized", out var several))
            foreach (var one in several.EnumerateObject())
                yield return (one.Name, one.Value);
    }

    /// <summary>A tokenizer of the fixtures or the shared data; null where it is in neither.</summary>
    private static ITokenizer? Tokenizer(string name, JsonElement root)
    {
        foreach (var find in new Func<string>[]
            { () => Fixtures.Path("tokenizers-modern", name), () => Fixtures.Shared("fixtures", "tokenizers-modern", name) })
            try
            {
                return WithSpecialTokens(find(), root);
            }
            catch (Exception e) when (e.Message.StartsWith("$XunitDynamicSkip$", StringComparison.Ordinal))
            {
                // In the other folder, perhaps.
            }
        return null;
    }

    /// <summary>The cases' begin and end tokens are added where the tokenizer does not have them, as transformers does.</summary>
    private static ITokenizer WithSpecialTokens(string folder, JsonElement root)
    {
        var json = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "tokenizer.json")))!;
        var known = AutoTokenizer.FromPretrained(folder);
        int next = known.VocabSize;
        foreach (var role in new[] { "bos_token", "eos_token" })
            if (root.TryGetProperty(role, out var token) && known.TokenToId(token.GetString()!) is null)
                json["added_tokens"]!.AsArray().Add(new JsonObject
                {
                    ["id"] = next++,
                    ["content"] = token.GetString(),
                    ["special"] = true,
                    ["normalized"] = false,
                    ["lstrip"] = false,
                    ["rstrip"] = false,
                    ["single_word"] = false,
                });
        using var copy = new Fixtures.TemporaryFolder();
        File.WriteAllText(Path.Combine(copy.Path, "tokenizer.json"), json.ToJsonString());
        return AutoTokenizer.FromPretrained(copy.Path);
    }
}
