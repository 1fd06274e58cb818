using System.Text.Json;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Tests.Tokenizers.Chat;

/// <summary>Chat templates against transformers' apply_chat_template.</summary>
public class ChatTemplateParityTests
{
    [Fact]
    public void Every_conversation_gives_the_text_or_the_error_that_transformers_gives()
    {
        var wrong = new List<string>();
        int count = 0;
        foreach (var (file, root) in ChatFixtures.With("template"))
            foreach (var test in root.GetProperty("cases").EnumerateArray())
            {
                count++;
                if (ChatFixtures.Difference(test.GetProperty("expected"), () => Template(root, test.GetProperty("template").GetString()!)
                    .Render(ChatFixtures.Messages(test), ChatFixtures.Options(test, ChatFixtures.Now(root)))) is { } difference)
                    wrong.Add($"{file}, {test.GetProperty("template")}: {test.GetProperty("messages")}\n{difference}");
            }
        Assert.True(wrong.Count == 0, $"{wrong.Count} of {count}:\n{string.Join("\n\n", wrong)}");
    }

    [Fact]
    public void Of_several_templates_the_one_for_tools_or_the_named_one_is_taken()
    {
        int count = 0;
        foreach (var (_, root) in ChatFixtures.With("template"))
        {
            if (!root.TryGetProperty("named_templates", out var cases))
                continue;
            foreach (var test in cases.EnumerateArray())
            {
                count++;
                using var folder = new Fixtures.TemporaryFolder();
                File.WriteAllText(Path.Combine(folder.Path, "tokenizer_config.json"),
                    $$"""{"chat_template": {{test.GetProperty("chat_template_in_config")}}}""");
                var options = ChatFixtures.Options(test, ChatFixtures.Now(root));
                Assert.Null(ChatFixtures.Difference(test.GetProperty("expected"), () =>
                {
                    var template = ChatTemplate.FromFolder(folder.Path);
                    if (test.TryGetProperty("chat_template", out var chosen))
                    {
                        if (template.Names.Contains(chosen.GetString()!))
                            options = options with { Template = chosen.GetString() };
                        else
                            template = ChatTemplate.FromText(chosen.GetString()!);
                    }
                    return template.Render(ChatFixtures.Messages(test), options);
                }));
            }
        }
        Assert.SkipWhen(count == 0, "There are no cases of named templates.");
    }

    internal static ChatTemplate Template(JsonElement root, string name)
    {
        var template = root.GetProperty("templates").GetProperty(name);
        var tokens = template.ValueKind == JsonValueKind.Object ? template : root;
        var source = template.ValueKind == JsonValueKind.Object ? template.GetProperty("template") : template;
        return ChatTemplate.FromText(source.GetString()!, specialTokens: tokens.EnumerateObject()
            .Where(x => x.Name.EndsWith("_token", StringComparison.Ordinal) && x.Value.ValueKind == JsonValueKind.String)
            .ToDictionary(x => x.Name, x => x.Value.GetString()!));
    }
}
