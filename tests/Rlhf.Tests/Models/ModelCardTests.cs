using Rlhf.Models;

namespace Rlhf.Tests.Models;

public class ModelCardTests
{
    [Fact]
    public void A_card_has_front_matter_and_tables()
    {
        var card = new ModelCard("imdb-gpt2, aligned by PPO", "A policy.")
        {
            PipelineTag = "text-generation",
            License = "apache-2.0",
            Tags = ["ppo", "rlhf"],
            Datasets = ["stanfordnlp/imdb"],
            Results = [new("steps", "40")],
            Tables = [new("Rewards", ["", "before", "after"], [["mean", "0.10", "2.30"]])],
            Settings = [new("seed", "1")],
            Command = "rlhf ppo --steps 40",
        };
        Assert.Equal(
            """
            ---
            library_name: transformers
            pipeline_tag: text-generation
            license: apache-2.0
            tags:
            - ppo
            - rlhf
            datasets:
            - stanfordnlp/imdb
            ---

            # imdb-gpt2, aligned by PPO

            A policy.

            ## Results

            |  |  |
            | --- | --- |
            | steps | 40 |

            ## Rewards

            |  | before | after |
            | --- | --- | --- |
            | mean | 0.10 | 2.30 |

            ## Settings

            |  |  |
            | --- | --- |
            | seed | 1 |

            ## Made with

            ```sh
            rlhf ppo --steps 40
            ```

            """.ReplaceLineEndings("\n"), card.ToMarkdown());
    }

    [Fact]
    public void Text_that_a_model_wrote_cannot_break_the_card()
    {
        var card = new ModelCard("a\n# b", "s")
        {
            License = "no",
            BaseModel = "x: y\n- z",
            Tags = ["1.0", "a\"b"],
            Tables = [new("Samples", ["response"], [["a | b\n| c <script> `d` \\"]])],
            Command = "echo ```",
        };
        var lines = card.ToMarkdown().Split('\n');
        Assert.Contains("# a # b", lines);
        Assert.Contains("license: \"no\"", lines);
        Assert.Contains("base_model: \"x: y\\n- z\"", lines);
        Assert.Contains("- \"1.0\"", lines);
        Assert.Contains("- \"a\\\"b\"", lines);
        Assert.Contains("| a \\| b \\| c &lt;script> \\`d\\` \\\\ |", lines);
        Assert.Equal(["````sh", "echo ```", "````", ""], lines[^4..]);
    }

    [Fact]
    public void A_card_is_saved_as_README()
    {
        using var folder = new Fixtures.TemporaryFolder();
        new ModelCard("t", "s").Save(folder.Path);
        var text = File.ReadAllText(Path.Combine(folder.Path, "README.md"));
        Assert.Equal("---\nlibrary_name: transformers\n---\n\n# t\n\ns\n", text);
        Assert.Single(Directory.GetFiles(folder.Path));
    }
}
